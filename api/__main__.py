"""`python -m api --host H --port P`: serve the API, and run the reaper beside it."""

import argparse
import ipaddress
import logging
import sys
from collections.abc import Sequence

import uvicorn

from api.app import create_app
from migrations.upgrade import is_current
from models.session import Database, Unavailable
from settings import Settings


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(prog="tuneup api", description="Serve the REST API and run the reaper.")
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--port", type=int, default=8000)
    return made


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def database_fault(url: str) -> str | None:
    """Say what keeps the service from starting over this database; None if nothing does."""
    database = Database(url)
    try:
        current = database.read(is_current)
    except Unavailable as error:
        return str(error)
    finally:
        database.dispose()
    return None if current else "the database is empty or at another revision; run `tuneup migrate`"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. Refuse to be reachable from outside without a key."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    # Alembic speaks at every look at the revision, and /readyz looks often.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    given = parser().parse_args(arguments)
    settings = Settings()
    key = settings.api_key.get_secret_value() if settings.api_key is not None else ""
    if not key and not is_loopback(given.host):
        sys.stderr.write(
            f"tuneup api: refusing to listen on {given.host} without a key: "
            "set TUNEUP_API_KEY to a long random string, or listen on 127.0.0.1\n"
        )
        return 2
    fault = database_fault(settings.database_url)
    if fault is not None:
        sys.stderr.write(f"tuneup api: {fault}\n")
        return 1
    uvicorn.run(create_app(settings), host=given.host, port=given.port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
