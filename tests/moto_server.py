"""moto's server with DynamoDB's calls one at a time; the arguments are moto_server's.

moto undoes a refused transaction by putting back a copy of the whole table that it took before, so
a transaction that was committed meanwhile by another thread would be lost: DynamoDB's transactions
are isolated, and two functions that race for one state rely on it.

It takes that copy, of every item, once for each item of a transaction. A transaction that only puts,
deletes and checks replaces items and changes none, so that a copy of the dictionaries that it writes
to is enough; with the other, a table of some thousand items takes seconds for each transaction.

A query of a table looks at every item of it. Given only the partition, it answers the same.
"""

import copy
import sys
import threading
from collections import defaultdict

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler
from moto.server import main

_turn = threading.RLock()
_call_action = DynamoHandler.call_action
_transact_write_items = DynamoDBBackend.transact_write_items
_query = Table.query
# The items or keys that a transaction names which only replaces items; None if it changes some.
_replaced = None


def _one_at_a_time(self):
    with _turn:
        return _call_action(self)


def _transact(self, transact_items):
    global _replaced
    if not any("Update" in item for item in transact_items):
        actions = [action for item in transact_items for action in item.values()]
        _replaced = [action.get("Item", action.get("Key")) for action in actions]
    try:
        return _transact_write_items(self, transact_items)
    finally:
        _replaced = None


def _copy_of(table, memo):
    clone = copy.copy(table)
    if _replaced is not None:
        clone.items = defaultdict(dict, table.items)
        for named in _replaced:
            if table.hash_key_attr in named:
                key = DynamoType(named[table.hash_key_attr])
                if isinstance(table.items.get(key), dict):
                    clone.items[key] = dict(table.items[key])
        return clone
    memo[id(table)] = clone
    for name, value in vars(table).items():
        setattr(clone, name, copy.deepcopy(value, memo))
    return clone


def _query_of(table, hash_key, *args, **more):
    index_name = args[6] if len(args) > 6 else more.get("index_name")
    if not index_name:
        items = table.items.get(hash_key, {})
        table = copy.copy(table)
        table.items = {hash_key: items}
    return _query(table, hash_key, *args, **more)


DynamoHandler.call_action = _one_at_a_time
DynamoDBBackend.transact_write_items = _transact
Table.__deepcopy__ = _copy_of
Table.query = _query_of

if __name__ == "__main__":
    sys.exit(main())
