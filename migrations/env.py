"""What Alembic runs: the connection to migrate and the tables it compares with."""

from alembic import context
from sqlalchemy import Connection

from migrations.lock import migration_lock
from models.session import Database
from models.tables import Table
from settings import Settings


def _migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        # SQLite changes a table by copying it.
        render_as_batch=connection.dialect.name == "sqlite",
        transaction_per_migration=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _migrate(given)
else:
    database = Database(context.config.get_main_option("sqlalchemy.url") or Settings().database_url)
    with migration_lock(database.engine), database.engine.connect() as own:
        _migrate(own)
    database.dispose()
