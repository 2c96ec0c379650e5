"""A study definition from where the user has it: a mapping, a file, or YAML text.

YAML is read as its users expect: `1e-4` is a number (YAML 1.1 asks for `1.0e-4`), dates stay text, and a key that
stands twice in one mapping is an error rather than the last one winning in silence.
"""

import math
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tuneup.errors import Fault, UnreadableStudy
from tuneup.shapes import Json

Definition: TypeAlias = Mapping[str, Any] | os.PathLike[str] | str

FILE_SUFFIXES = (".yaml", ".yml", ".json")
EXPONENT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")
TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """YAML's safe loader with the three changes that the module's docstring names."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands here twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))


def read_definition(source: Definition) -> Json:
    """Return the definition as plain JSON values.

    `source` is a mapping, a path object, or text; text of one line that ends in .yaml, .yml or .json is a path,
    any other text is YAML itself (JSON is YAML too). Raises UnreadableStudy.
    """
    raw: object = source
    if isinstance(source, str) and not _names_a_file(source):
        raw = _parse(source, origin="the study definition")
    elif isinstance(source, str | os.PathLike):
        raw = _parse(_read(Path(source)), origin=str(source))
    if not isinstance(raw, Mapping):
        raise UnreadableStudy(f"a study definition is a mapping with a name, an objective and so on, not {_kind(raw)}")
    faults: list[Fault] = []
    try:
        plain = _plain_mapping(raw, "", faults)
    except RecursionError as error:
        raise UnreadableStudy("the study definition contains itself, or is nested too deeply") from error
    if faults:
        raise UnreadableStudy("the study definition holds what JSON cannot carry", faults=faults)
    return plain


def _names_a_file(text: str) -> bool:
    return "\n" not in text and text.strip().lower().endswith(FILE_SUFFIXES)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UnreadableStudy(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UnreadableStudy(f"cannot read {path}: it is not UTF-8 text") from error


def _parse(text: str, *, origin: str) -> object:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (_Loader is a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UnreadableStudy(f"{origin}{where}: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableStudy(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UnreadableStudy(f"{origin} is nested too deeply") from error


def _plain(value: object, path: str, faults: list[Fault]) -> Any:  # noqa: ANN401  (any JSON value)
    if isinstance(value, Mapping):
        return _plain_mapping(value, path, faults)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item, f"{path}[{index}]", faults) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool) or (isinstance(value, str) and _is_text(value)):
        return value
    if isinstance(value, Real) and (isinstance(value, Integral) or math.isfinite(value)):
        return int(value) if isinstance(value, Integral) else float(value)
    expected = "text, a finite number, true, false, null, a list or a mapping"
    faults.append(Fault(path, f"must be {expected}, got {_kind(value)}"))
    return None


def _plain_mapping(value: Mapping[Any, Any], path: str, faults: list[Fault]) -> Json:
    plain: Json = {}
    for key, item in value.items():
        where = f"{path}.{key}".lstrip(".")
        if not isinstance(key, str) or not _is_text(key):
            faults.append(Fault(where, f"a name must be text, got {_kind(key)}; put it in quotes"))
            continue
        plain[key] = _plain(item, where, faults)
    return plain


def _is_text(value: str) -> bool:
    """Tell whether UTF-8 can carry `value`; a lone surrogate cannot be sent."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, float | bool):
        return str(value).lower()
    return f"text ({value[:20]!r})" if isinstance(value, str) else type(value).__name__
