"""An empty ledger on each kind of database; its promises are checked after every test that asks for one."""

from tests.support.ledger import ledger, ledger_server

__all__ = ["ledger", "ledger_server"]
