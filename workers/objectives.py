"""Registered objectives: commands of users that this worker can run, written down in its tuneup.toml.

    [objectives.my-train]
    command = ["python", "train.py"]      # run in `folder`, without a shell
    folder = "."                          # relative to the folder of this file; optional
    environment = {DATA = "/data"}        # added to a short list of the worker's own variables; optional
    title = "..."                         # for people; optional

A study names an objective; what is run under that name is the operator's to say, never a client's.
"""

import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.hygiene import LONGEST_NAME, string_problem
from search.schema import Objective, RegisteredObjective

_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_FIELDS = ("command", "folder", "environment", "title")


@dataclass(frozen=True, slots=True)
class Registered:
    """A command that can be run as an objective. `folder` is absolute and there."""

    name: str
    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    title: str | None = None


Registry = Mapping[str, Registered]


def read_objectives(path: Path | None) -> Registry:
    """Read a tuneup.toml; None is a worker without one. Raise ValueError that says in a line what is wrong with it."""
    if path is None:
        return {}
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"{path}: {reason}; set TUNEUP_OBJECTIVES to the file of your objectives") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: this is not TOML: {error}") from None
    fault = next(_faults(raw, path.parent), None)
    if fault is not None:
        raise ValueError(f"{path}: {fault}")
    return {name: _registered(name, table, path.parent) for name, table in raw.get("objectives", {}).items()}


def told(objective: Objective, registry: Registry) -> dict[str, Any]:
    """Return what a trainer is told to run. Raise KeyError for a name that is not registered here."""
    if not isinstance(objective, RegisteredObjective):
        return objective.model_dump(mode="json")
    found = registry[objective.name]
    return {
        "command": list(found.command),
        "folder": str(found.folder),
        "environment": dict(found.environment),
        "options": dict(objective.options),
    }


def _registered(name: str, table: Mapping[str, Any], beside: Path) -> Registered:
    return Registered(
        name=name,
        command=tuple(table["command"]),
        folder=_folder(table, beside),
        environment=table.get("environment", {}),
        title=table.get("title"),
    )


def _folder(table: Mapping[str, Any], beside: Path) -> Path:
    named: str = table.get("folder", ".")
    return (beside / named).resolve()


def _faults(raw: Mapping[str, Any], beside: Path) -> Iterator[str]:
    """Say what is wrong, the first fault first; what follows it may not make sense."""
    for key in raw:
        if key != "objectives":
            yield f"there is no table [{key}]; write [objectives.NAME] for each objective"
    tables = raw.get("objectives", {})
    if not isinstance(tables, dict):
        yield "objectives must be tables; write [objectives.NAME] for each"
    for name, table in tables.items():
        for fault in _table_faults(name, table, beside):
            yield f"[objectives.{name}] {fault}"


def _table_faults(name: str, table: object, beside: Path) -> Iterator[str]:
    problem = string_problem(name, LONGEST_NAME) or ("must not be blank" if not name.strip() else None)
    if problem is not None:
        yield f"the name {problem}"
    if not isinstance(table, dict):
        yield f"must be a table with {', '.join(_FIELDS)}"
        return
    for key in table:
        if key not in _FIELDS:
            yield f"there is no field {key!r} here; valid are {', '.join(_FIELDS)}"
    for key in ("folder", "title"):
        if not _is_text(table.get(key, "")):
            yield f"{key} must be a string"
    if not _is_environment(table.get("environment", {})):
        yield 'environment must be a table of strings, such as {DATA = "/data"}'
    yield from _command_faults(table, _folder(table, beside))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_environment(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(text) and _VARIABLE.fullmatch(name) for name, text in value.items())


def _command_faults(table: Mapping[str, Any], folder: Path) -> Iterator[str]:
    command = table.get("command")
    if not isinstance(command, list) or not command or not all(map(_is_text, command)):
        yield 'command must be a list of strings, such as ["python", "train.py"]'
        return
    if not folder.is_dir():
        yield f"folder {folder} is not there; make it, or name another"
    if _program(command[0], folder, table.get("environment", {}).get("PATH")) is None:
        yield f"the program {command[0]!r} of command is not there or cannot be run; give its path, or install it"


def _program(name: str, folder: Path, path: str | None) -> str | None:
    """Find a program as it will be found when it is run: in `folder`, where its name is a path."""
    return shutil.which(str(folder / name) if os.sep in name else name, path=path)
