"""`python -m api --host H --port P`: serve the API, and run the reaper beside it."""

import argparse
import ipaddress
import logging
import sys
from collections.abc import Sequence

import uvicorn

from api.app import create_app
from migrations.upgrade import database_fault
from settings import load
from workers.queue import split_broker

log = logging.getLogger("tuneup.api")


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. Refuse to be reachable from outside without a key."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    given = parser().parse_args(arguments)
    try:
        settings = load()
        split_broker(settings.broker_url)
    except ValueError as error:
        sys.stderr.write(f"tuneup api: {error}\n")
        return 2
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
    log.info("tuneup API on http://%s:%d", given.host, given.port)
    uvicorn.run(create_app(settings), host=given.host, port=given.port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
