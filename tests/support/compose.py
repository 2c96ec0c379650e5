"""docker-compose.yml as its engine would read it: merged, with the environment's values in place."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.support import sources

FILE = sources.ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<operator>:[-?])(?P<word>[^}]*))?\}")


class MissingVariable(Exception):
    """The file demands a variable that the environment lacks."""


def load(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the whole file. Raise MissingVariable where `${NAME:?message}` finds nothing."""
    content: dict[str, Any] = _interpolate(yaml.safe_load(FILE.read_text(encoding="utf-8")), environment)
    return content


def command(service: str) -> list[str]:
    """Return the command of one of our services, word by word; tests start these and not commands of their own."""
    words: list[str] = load({"TUNEUP_API_KEY": "key"})["services"][service]["command"]
    return words


def _interpolate(node: Any, environment: Mapping[str, str]) -> Any:  # a document of any shape
    if isinstance(node, dict):
        return {key: _interpolate(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [_interpolate(value, environment) for value in node]
    return VARIABLE.sub(lambda match: _value(match, environment), node) if isinstance(node, str) else node


def _value(match: re.Match[str], environment: Mapping[str, str]) -> str:
    if match["name"] is None:
        return "$"
    value = environment.get(match["name"], "")
    if not value and match["operator"] == ":?":
        raise MissingVariable(f"{match['name']}: {match['word']}")
    return value or (match["word"] or "" if match["operator"] == ":-" else "")
