"""Registered networks: functions in files of this worker that build what its recipes train, from its tuneup.toml.

    [networks.tiny]
    file = "nets.py"          # relative to the folder of this file
    function = "build"        # build(shape, outputs, **options) -> torch.nn.Module; optional
    title = "..."             # for people; optional

What the file holds is read by the trainer alone, with each trial.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.definition.networks import ANNOUNCED, LONGEST_NETWORK
from workers.wording import common_faults, is_text

DEFAULT_FUNCTION = "build"
_FIELDS = ("file", "function", "title")


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """A function that builds a network. `file` is absolute and there."""

    name: str
    file: Path
    function: str = DEFAULT_FUNCTION
    title: str | None = None

    @property
    def announced(self) -> str:
        """The name under which the worker says that it has it."""
        return ANNOUNCED + self.name

    def told(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a trainer is told to train."""
        return {"kind": "registered", "file": str(self.file), "function": self.function, "options": dict(options)}


def network_file(name: str, table: Mapping[str, Any], beside: Path) -> NetworkFile:
    """Return what a table without faults registers."""
    return NetworkFile(name, _file(table, beside), table.get("function", DEFAULT_FUNCTION), table.get("title"))


def network_faults(name: str, table: object, beside: Path) -> Iterator[str]:
    """Say what is wrong with a table, the first fault first; what follows it may not make sense."""
    yield from common_faults(name, table, _FIELDS, longest=LONGEST_NETWORK)
    if not isinstance(table, Mapping):
        return
    if not is_text(table.get("title", "")):
        yield "title must be a string"
    if not _is_name(table.get("function", DEFAULT_FUNCTION)):
        yield 'function must be the name of a function in the file, such as "build"'
    if not is_text(table.get("file")):
        yield 'file must be a string, such as "nets.py"'
        return
    file = _file(table, beside)
    if file.suffix != ".py" or not file.is_file():
        yield f"file {file} is no Python file that is there; make it, or name another"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier()


def _file(table: Mapping[str, Any], beside: Path) -> Path:
    named: str = table["file"]
    return (beside / named).resolve()
