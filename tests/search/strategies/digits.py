"""The study of the README with a space and a strategy to choose."""

import copy
from collections.abc import Mapping
from typing import Any

from search.definition.parse import EXAMPLE_STUDIES, StudyDefinition, parse_study

DIGITS = EXAMPLE_STUDIES["digits-mlp"]["space"]


def definition(
    space: Mapping[str, Any] = DIGITS, *, strategy: str = "bayesian", startup: int | None = None, external: bool = False
) -> StudyDefinition:
    raw = copy.deepcopy(EXAMPLE_STUDIES["digits-mlp"])
    if external:
        raw["objective"] = {"external": True}
    raw["space"] = dict(space)
    raw["search"] = {"strategy": strategy, **({} if startup is None else {"startup": startup})}
    return parse_study(raw)
