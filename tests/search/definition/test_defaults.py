"""The default point of a study, and where each value comes from."""

from typing import Any

from search.definition.defaults import default_point
from search.definition.parse import parse_study
from search.definition.planning import plan_of
from search.space.validation import validate_point
from tests.support.ledger import definition


def _default(space: Any, **objective: Any) -> tuple[dict[str, Any], dict[str, str]]:
    raw = definition()
    return default_point(parse_study({**raw, "space": space, "objective": {**raw["objective"], **objective}}))


def test_own_defaults_then_the_catalogs_then_the_middle() -> None:
    params, sources = _default(
        {
            "optimizer": {"type": "categorical", "choices": ["sgd", "momentum"], "default": "momentum"},
            "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "default": 0.1},
            "momentum": {"type": "float", "low": 0.5, "high": 0.99, "when": {"optimizer": ["momentum"]}},
            "batch_size": {"type": "categorical", "choices": [16, 64]},
        }
    )
    assert params == {"optimizer": "momentum", "lr": 0.1, "momentum": 0.9, "batch_size": 16}
    assert sources == {"optimizer": "space", "lr": "space", "momentum": "catalog", "batch_size": "middle"}


def test_a_default_beyond_the_range_is_brought_in() -> None:
    params, sources = _default({"lr": {"type": "float", "low": 0.01, "high": 1.0, "scale": "log"}}, optimizer="adam")
    assert (params, sources) == ({"lr": 0.01}, {"lr": "catalog"})


def test_the_catalogs_optimizer_comes_first() -> None:
    params, _ = _default({"optimizer": {"type": "categorical", "choices": ["sgd", "adam"]}})
    assert params == {"optimizer": "adam"}


def test_an_objective_without_a_catalog_takes_the_middle() -> None:
    space = {"x": {"type": "float", "low": -1.0, "high": 3.0}, "y": {"type": "int", "low": 1, "high": 9, "default": 2}}
    raw = {**definition(), "objective": {"external": True}, "space": space}
    assert default_point(parse_study(raw)) == ({"x": 1.0, "y": 2}, {"x": "middle", "y": "space"})


def test_what_is_not_searched_follows_and_has_no_default() -> None:
    raw = {
        "base": {"type": "float", "low": 0.1, "high": 0.3},
        "batch_size": {"type": "fixed", "value": 64},
        "lr": {"type": "derived", "of": "base", "by": "batch_size", "rule": "linear", "reference": 32},
    }
    parsed = parse_study({**definition(), "space": raw})
    assert parsed.start_from_default is False
    point, sources = default_point(parsed)
    assert (point["batch_size"], point["lr"]) == (64, 2 * float(str(point["base"])))
    assert sources == {"base": "middle", "batch_size": "fixed", "lr": "derived"}


def test_the_default_point_keeps_the_constraints() -> None:
    share = {"type": "float", "low": 0.0, "high": 1.0}
    raw = {**definition(), "objective": {"external": True}, "space": {"x": share, "y": {**share, "default": 0.75}}}
    parsed = parse_study({**raw, "constraints": [{"terms": {"x": 1, "y": 1}, "at_most": 1}]})
    assert parsed.start_from_default is True
    point, sources = default_point(parsed)
    assert (point, sources) == default_point(parsed)
    assert validate_point(plan_of(parsed), point) == []
    assert sources == {"x": "constraints", "y": "constraints"}
