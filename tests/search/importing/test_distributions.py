"""Optuna's distributions, as Optuna itself writes them."""

import json
import warnings
from typing import Any

import pytest
from optuna import distributions as theirs

from search.definition.parse import parse_study
from search.errors import InvalidStudy
from search.importing.distributions import CLASSES
from search.importing.formats import translate
from search.importing.text import read_entries


def written() -> dict[str, tuple[theirs.BaseDistribution, dict[str, Any]]]:
    """Return distributions of every class with the parameters that they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "float": (theirs.FloatDistribution(-1.5, 2.0), {"type": "float", "low": -1.5, "high": 2.0}),
            "log": (
                theirs.FloatDistribution(1e-5, 0.1, log=True),
                {"type": "float", "low": 1e-5, "high": 0.1, "scale": "log"},
            ),
            "step": (
                theirs.FloatDistribution(0.0, 1.0, step=0.25),
                {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25},
            ),
            "int": (theirs.IntDistribution(1, 8), {"type": "int", "low": 1, "high": 8}),
            "int step": (theirs.IntDistribution(16, 64, step=16), {"type": "int", "low": 16, "high": 64, "step": 16}),
            "int log": (
                theirs.IntDistribution(1, 512, log=True),
                {"type": "int", "low": 1, "high": 512, "scale": "log"},
            ),
            "categorical": (
                theirs.CategoricalDistribution(["sgd", 1, 0.5, None, True]),
                {"type": "categorical", "choices": ["sgd", 1, 0.5, None, True]},
            ),
            "old uniform": (theirs.UniformDistribution(0, 2), {"type": "float", "low": 0, "high": 2}),
            "old log": (
                theirs.LogUniformDistribution(1e-3, 1),
                {"type": "float", "low": 1e-3, "high": 1, "scale": "log"},
            ),
            "old discrete": (
                theirs.DiscreteUniformDistribution(0, 1, 0.1),
                {"type": "float", "low": 0, "high": 1, "step": 0.1},
            ),
            "old int": (
                theirs.IntUniformDistribution(0, 6, 2),
                {"type": "int", "low": 0, "high": 6, "step": 2},
            ),
            "old int log": (
                theirs.IntLogUniformDistribution(1, 9),
                {"type": "int", "low": 1, "high": 9, "scale": "log"},
            ),
        }


def test_every_class_is_read_as_optuna_writes_it() -> None:
    cases = written()
    assert {type(case).__name__ for case, _ in cases.values()} == set(CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        texts = {name: theirs.distribution_to_json(case) for name, (case, _) in cases.items()}
    expected = {name: made for name, (_, made) in cases.items()}
    values = {name: json.loads(text) for name, text in texts.items()}
    for source in (texts, values):
        assert translate("optuna", read_entries(source, "source"), {}).definition["space"] == expected


def test_the_short_form() -> None:
    short = {
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "n": {"type": "int", "low": 1, "high": 4},
        "c": {"type": "categorical", "choices": ["a", "b"]},
    }
    assert translate("optuna", short, {}).definition["space"] == {
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
        "n": {"type": "int", "low": 1, "high": 4},
        "c": {"type": "categorical", "choices": ["a", "b"]},
    }


def test_what_is_assumed_is_noted_unless_it_is_given() -> None:
    source = {"n": {"type": "int", "low": 1, "high": 4}}
    alone = translate("optuna", source, {})
    assert [note.message.split(";")[1].split()[1] for note in alone.notes] == ["`metrics`", "`search`", "`budget`"]
    given = {"metrics": [{"name": "l", "goal": "minimize"}], "search": {"strategy": "grid"}, "budget": {}}
    assert translate("optuna", source, given).notes == ()
    assert parse_study(translate("optuna", source, given).definition).trials == 4


def test_parameters_are_replaced_one_by_one() -> None:
    source = {name: {"type": "int", "low": 1, "high": 4} for name in "abc"}
    fixed = {"type": "categorical", "choices": [7]}
    space = translate("optuna", source, {"space": {"a": fixed, "b": None, "d": fixed}}).definition["space"]
    assert space == {"a": fixed, "c": {"type": "int", "low": 1, "high": 4}, "d": fixed}


@pytest.mark.parametrize(
    ("source", "path", "says"),
    [
        ([], "source", "must be an object"),
        ({}, "source", "at least one"),
        ({"x": 3}, "source.x", "must be a distribution"),
        ({"x": {"name": "GammaDistribution", "attributes": {}}}, "source.x.name", "valid are FloatDistribution"),
        ({"x": {"type": "normal"}}, "source.x.type", "valid are float, int, categorical"),
        ({"x": {"name": "IntDistribution"}}, "source.x.attributes", "must be an object"),
        ({"x": {"type": "int", "low": 1}}, "source.x.high", "is required"),
        ({"x": {"type": "int", "low": 1, "high": 2, "q": 1}}, "source.x.q", "no such attribute"),
        ({"x": {"type": "int", "low": 3, "high": 2}}, "source.x.low", "must not be above high"),
        ({"x": {"type": "float", "low": 0, "high": 2, "log": True}}, "source.x.low", "above 0"),
        ({"x": {"type": "float", "low": "0", "high": 2}}, "source.x.low", "must be a number"),
        ({"x": {"type": "categorical", "choices": []}}, "source.x.choices", "must not be empty"),
        ({"x": {"type": "categorical", "choices": ["a", "a"]}}, "source.x.choices[1]", "listed already"),
    ],
)
def test_nonsense_is_named(source: object, path: str, says: str) -> None:
    with pytest.raises(InvalidStudy) as refused:
        translate("optuna", source, {})
    assert [says in fault.message for fault in refused.value.faults if fault.path == path] == [True]


def test_every_fault_is_named_at_once() -> None:
    source = {"a": 1, "b": {"type": "x"}, "c": {"type": "int", "low": 2, "high": 1}}
    with pytest.raises(InvalidStudy) as refused:
        translate("optuna", source, {})
    assert [fault.path for fault in refused.value.faults] == ["source.a", "source.b.type", "source.c.low"]
