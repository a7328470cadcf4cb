"""moto's server with DynamoDB's calls one at a time; the arguments are moto_server's.

moto undoes a refused transaction by putting back a copy of the whole table that it took before, so
a transaction that was committed meanwhile by another thread would be lost: DynamoDB's transactions
are isolated, and two functions that race for one state rely on it.
"""

import sys
import threading

from moto.dynamodb.responses import DynamoHandler
from moto.server import main

_turn = threading.RLock()
_call_action = DynamoHandler.call_action


def _one_at_a_time(self):
    with _turn:
        return _call_action(self)


DynamoHandler.call_action = _one_at_a_time

if __name__ == "__main__":
    sys.exit(main())
