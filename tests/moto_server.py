"""moto's server with DynamoDB's calls one at a time; the arguments are moto_server's.

moto undoes a refused transaction by putting back a copy of the whole table that it took before, so
a transaction that was committed meanwhile by another thread would be lost: DynamoDB's transactions
are isolated, and two functions that race for one state rely on it.

It takes that copy, of every item, once for each item of a transaction. A transaction that only puts,
deletes and checks replaces items and changes none, so that a copy of the table's dictionaries is
enough; with the other, a table of some thousand items takes seconds for each transaction.
"""

import copy
import sys
import threading
from collections import defaultdict

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler
from moto.server import main

_turn = threading.RLock()
_call_action = DynamoHandler.call_action
_transact_write_items = DynamoDBBackend.transact_write_items
_is_replacing = False


def _one_at_a_time(self):
    with _turn:
        return _call_action(self)


def _transact(self, transact_items):
    global _is_replacing
    _is_replacing = not any("Update" in item for item in transact_items)
    try:
        return _transact_write_items(self, transact_items)
    finally:
        _is_replacing = False


def _copy_of(table, memo):
    clone = copy.copy(table)
    if _is_replacing:
        clone.items = defaultdict(dict)
        for key, items in table.items.items():
            clone.items[key] = dict(items) if isinstance(items, dict) else items
        return clone
    memo[id(table)] = clone
    for name, value in vars(table).items():
        setattr(clone, name, copy.deepcopy(value, memo))
    return clone


DynamoHandler.call_action = _one_at_a_time
DynamoDBBackend.transact_write_items = _transact
Table.__deepcopy__ = _copy_of

if __name__ == "__main__":
    sys.exit(main())
