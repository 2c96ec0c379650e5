"""Bring a database to the newest revision, and say whether it is there."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from models.session import Database, Unavailable

ROOT = Path(__file__).resolve().parent.parent

# Alembic speaks at every look at the revision, and /readyz looks often.
logging.getLogger("alembic").setLevel(logging.WARNING)


def config(url: str | None = None) -> Config:
    """Alembic's configuration; `url` overrides TUNEUP_DATABASE_URL."""
    made = Config(str(ROOT / "alembic.ini"))
    if url is not None:
        made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


def upgrade(url: str | None = None) -> None:
    """Apply every revision that is missing. Safe to run twice and at once."""
    command.upgrade(config(url), "head")


def database_fault(url: str) -> str | None:
    """Say what keeps a program of the service from working over this database; None if nothing does."""
    database = Database(url)
    try:
        current = database.read(is_current)
    except Unavailable as error:
        return str(error)
    finally:
        database.dispose()
    return None if current else "the database is empty or at another revision; run `tuneup migrate`"


def is_current(connection: Connection) -> bool:
    """Say whether the database is at exactly the revision this code was written for."""
    heads = set(ScriptDirectory.from_config(config()).get_heads())
    return set(MigrationContext.configure(connection).get_current_heads()) == heads
