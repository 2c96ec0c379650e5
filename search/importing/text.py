"""Text from outside as a JSON value: JSON, or YAML as its users expect it.

In YAML, as in the client's own files, `1e-4` is a number, dates stay text, and a key may stand once. Aliases are refused: a
few hundred bytes of them can stand for gigabytes.
"""

import json
import re
from collections.abc import Hashable
from typing import Any

import yaml

from search.definition.hygiene import join
from search.errors import Fault, InvalidStudy

LONGEST_YAML = 64 * 1024  # characters; to read this many takes half a second
EXPONENT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")
TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """YAML's safe loader with the changes that the module's docstring names."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not read; write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} stands here twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))


def read_text(text: str, path: str) -> Any:  # noqa: ANN401  any JSON value
    """Return what the text says. Raise InvalidStudy with a fault at `path` for what is neither JSON nor YAML."""
    try:
        return json.loads(text)
    except RecursionError:
        raise _refused(path, "is nested too deeply") from None
    except ValueError:
        return _read_yaml(text, path)


def _read_yaml(text: str, path: str) -> Any:  # noqa: ANN401  any JSON value
    if len(text) > LONGEST_YAML:
        raise _refused(path, f"is YAML of {len(text)} characters; at most {LONGEST_YAML} are read: send it as JSON")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (_Loader is a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"at line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _refused(path, f"is not YAML; {where}{error.problem}") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise _refused(path, f"is not YAML; {' '.join(str(error).split())}") from None
    except RecursionError:
        raise _refused(path, "is nested too deeply") from None


def read_entries(source: object, path: str) -> object:
    """Read those values of a mapping that are texts themselves."""
    if not isinstance(source, dict):
        return source
    return {
        name: read_text(item, join(path, str(name))) if isinstance(item, str) else item for name, item in source.items()
    }


def _refused(path: str, message: str) -> InvalidStudy:
    return InvalidStudy([Fault(path, message)])
