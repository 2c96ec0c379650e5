"""The oracle: one file of JSON lines outside the database, written by whoever did something, in one append each."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Oracle:
    """Appends lines to one file; any number of processes and threads may write to it at once."""

    def __init__(self, path: Path) -> None:
        """Open `path` for appending, and make it where it is missing."""
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, kind: str, **fields: Any) -> None:
        """Append one line in one write, so that lines of several writers never mix. `at` is monotonic, in seconds."""
        line: Mapping[str, Any] = {"kind": kind, **fields, "at": time.monotonic()}
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(path: Path, kind: str | None = None) -> Iterator[Line]:
    """Yield the lines of one kind, or all, in the order they were written. A last line without an end is left out."""
    with path.open("rb") as file:
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            line: Line = json.loads(raw)
            if kind is None or line["kind"] == kind:
                yield line
