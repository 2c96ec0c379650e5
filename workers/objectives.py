"""What is registered in a worker's tuneup.toml: commands of users that it can run, and networks that it can train.

    [objectives.my-train]
    command = ["python", "train.py"]      # run in `folder`, without a shell
    folder = "."                          # relative to the folder of this file; optional
    environment = {DATA = "/data"}        # added to a short list of the worker's own variables; optional
    title = "..."                         # for people; optional

A study names an objective; what is run under that name is the operator's to say, never a client's. Tables [networks.NAME]
are those of `workers.networks`.
"""

import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from search.definition.hygiene import LONGEST_NAME
from search.definition.kinds import Objective, RecipeObjective, RegisteredObjective
from search.definition.networks import ANNOUNCED, RegisteredNetwork
from workers.networks import NetworkFile, network_faults, network_file
from workers.wording import common_faults, is_text

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

    @property
    def announced(self) -> str:
        """The name under which the worker says that it has it."""
        return self.name

    def told(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a trainer is told to run."""
        return {
            "command": list(self.command),
            "folder": str(self.folder),
            "environment": dict(self.environment),
            "options": dict(options),
        }


# Under the names that a worker announces.
Registry: TypeAlias = Mapping[str, Registered | NetworkFile]


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
    found = [
        make(name, table, path.parent)
        for kind, make in (("objectives", _registered), ("networks", network_file))
        for name, table in raw.get(kind, {}).items()
    ]
    return {each.announced: each for each in found}


def told(objective: Objective, registry: Registry) -> dict[str, Any]:
    """Return what a trainer is told to run. Raise KeyError for a name that is not registered here."""
    if isinstance(objective, RegisteredObjective):
        return registry[objective.name].told(objective.options)
    whole = objective.model_dump(mode="json")
    if isinstance(objective, RecipeObjective) and isinstance(objective.network, RegisteredNetwork):
        whole["network"] = registry[objective.network.announced].told(objective.network.options)
    return whole


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
        if key not in _TABLES:
            yield f"there is no table [{key}]; write [objectives.NAME] for each objective, [networks.NAME] for each network"
    for kind, faults in _TABLES.items():
        tables = raw.get(kind, {})
        if not isinstance(tables, dict):
            yield f"{kind} must be tables; write [{kind}.NAME] for each"
            return
        for name, table in tables.items():
            for fault in faults(name, table, beside):
                yield f"[{kind}.{name}] {fault}"


def _objective_faults(name: str, table: object, beside: Path) -> Iterator[str]:
    yield from common_faults(name, table, _FIELDS, longest=LONGEST_NAME)
    if name.startswith(ANNOUNCED):
        yield f"the name must not begin with {ANNOUNCED!r}, as the names of networks do"
    if not isinstance(table, dict):
        return
    for key in ("folder", "title"):
        if not is_text(table.get(key, "")):
            yield f"{key} must be a string"
    if not _is_environment(table.get("environment", {})):
        yield 'environment must be a table of strings, such as {DATA = "/data"}'
    yield from _command_faults(table, _folder(table, beside))


def _is_environment(value: object) -> bool:
    return isinstance(value, dict) and all(is_text(text) and _VARIABLE.fullmatch(name) for name, text in value.items())


def _command_faults(table: Mapping[str, Any], folder: Path) -> Iterator[str]:
    command = table.get("command")
    if not isinstance(command, list) or not command or not all(map(is_text, command)):
        yield 'command must be a list of strings, such as ["python", "train.py"]'
        return
    if not folder.is_dir():
        yield f"folder {folder} is not there; make it, or name another"
    if _program(command[0], folder, table.get("environment", {}).get("PATH")) is None:
        yield f"the program {command[0]!r} of command is not there or cannot be run; give its path, or install it"


def _program(name: str, folder: Path, path: str | None) -> str | None:
    """Find a program as it will be found when it is run: in `folder`, where its name is a path."""
    return shutil.which(str(folder / name) if os.sep in name else name, path=path)


_TABLES: Mapping[str, Callable[[str, object, Path], Iterator[str]]] = {
    "objectives": _objective_faults,
    "networks": network_faults,
}
