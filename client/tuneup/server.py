"""The commands that start the server's processes. The wheel holds only the client, so they look before they leap."""

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NoReturn

from tuneup import environment
from tuneup.errors import TuneupError
from tuneup.wire import is_loopback


@dataclass(frozen=True, slots=True)
class Program:
    """A module of the server, the libraries without which it cannot start, and the extra that brings them."""

    module: str
    needs: tuple[str, ...]
    extra: str


PROGRAMS = {
    "serve": Program("workers.embedded", ("fastapi", "celery", "sqlalchemy", "torch", "sklearn"), "worker"),
    "api": Program("api", ("fastapi", "uvicorn", "sqlalchemy"), "server"),
    "worker": Program("workers", ("celery", "sqlalchemy", "torch", "sklearn"), "worker"),
    "migrate": Program("migrations", ("alembic", "sqlalchemy"), "server"),
}


def start(command: str, **options: object) -> NoReturn:
    """Become the server process of `command`; options that are None are left to it.

    Raises TuneupError where the server, or a library it needs, is not installed.
    """
    program = PROGRAMS[command]
    if not _found(program.module):
        raise TuneupError(
            f"`tuneup {command}` needs the server, and only the client is installed here: "
            "run it from a checkout of tuneup after `make setup`, or from the container image"
        )
    missing = [name for name in program.needs if not _found(name)]
    if missing:
        raise TuneupError(
            f"`tuneup {command}` needs {', '.join(missing)}: "
            f"install them from the checkout with `pip install --editable '.[{program.extra}]'`"
        )
    # -P: a folder called api or workers where the user happens to stand is not ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", program.module, *arguments(**options)])  # noqa: S606


def arguments(**options: object) -> list[str]:
    """Write options as command-line arguments: `port=8000` as `--port 8000`; None is left out."""
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in options.items() if value is not None)
    return [word for pair in pairs for word in pair]


def require_key_beyond_loopback(host: str | None) -> None:
    """Raise TuneupError for an address that others can reach while no key is set; the server checks this too."""
    if host is not None and not is_loopback(host) and environment.api_key() is None:
        raise TuneupError(
            f"refusing to listen on {host} without a key: set TUNEUP_API_KEY, or listen on 127.0.0.1 (the default)"
        )


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
