"""What every strategy promises, over every space that it takes: a new one joins by standing in the table.

A space that a strategy does not take is refused when the study is posted, by a fault that says what to do.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from benchmarks.records import record
from search.definition.parse import StudyDefinition, parse_study
from search.definition.planning import plan_of
from search.definition.searches import STRATEGIES as SCHEMAS
from search.errors import InvalidStudy
from search.records import Suggestion, TrialRecord
from search.space.coordinates import share_of
from search.space.parameters import CategoricalParameter
from search.space.plan import plan
from search.space.points import GRID_LIMIT, count_grid, is_discrete
from search.space.validation import validate_point
from search.strategies.base import Strategy
from search.strategies.table import STRATEGIES, make

Space = dict[str, dict[str, Any]]


def number(low: float, high: float, **more: object) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, "levels": 2, **more}


def whole(low: int, high: int, **more: object) -> dict[str, Any]:
    return {"type": "int", "low": low, "high": high, **more}


def choice(*choices: object, **more: object) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices), **more}


SPACES: Mapping[str, Space] = {
    "numbers": {
        "lr": number(1e-5, 10.0, scale="log"),
        "momentum": number(0.0, 0.999999, scale="reverse_log"),
        "shift": number(-3.5, 1e6),
        "layers": whole(2, 11, step=3),
        "width": whole(1, 4096, scale="log", levels=3),
        "decay": {"type": "float", "low": 0.1, "high": 0.75, "step": 0.1},
        "fixed": number(0.25, 0.25),
    },
    "conditions": {
        "optimizer": choice("sgd", "momentum", "adam", None, True, 7),
        "lr": number(1e-4, 1.0, scale="log"),
        "momentum": number(0.5, 0.99, when={"optimizer": ["momentum"]}),
        "nesterov": choice(True, False, when={"optimizer": ["momentum"]}),
        "beta1": number(0.5, 0.99, scale="reverse_log", when={"optimizer": ["adam", True]}),
        "layers": whole(1, 3),
        "width3": whole(4, 8, when={"layers": [3]}),
        "skip3": choice("none", "add", when={"layers": [3], "optimizer": ["adam"]}),
        "deep": number(0.0, 1.0, when={"nesterov": [True]}),
        "decay": {
            "type": "derived",
            "of": "deep",
            "by": "skip3",
            "rule": "factor",
            "factors": {"none": 0.0, "add": 0.5},
        },
    },
    "lattice": {
        "a": choice("x", "y", "z"),
        "b": whole(0, 4),
        "c": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.5},
    },
    "one line": {"lr": number(1e-4, 1.0, scale="log")},
    "one point": {"a": whole(3, 3), "b": number(0.5, 0.5), "c": choice("only")},
    "wide": {f"x{place:02}": number(0.0, 1.0, levels=2 if place < 12 else 1) for place in range(64)},
    "bound": {
        "warmup": number(0.0, 1.0, levels=11),
        "decay": number(0.0, 1.0, levels=11),
        "share": number(0.001, 0.999, scale="logit", levels=3),
        "base": number(1e-4, 1e-1, scale="log"),
        "batch": whole(8, 64, step=8),
        "lr": {"type": "derived", "of": "base", "by": "batch", "rule": "sqrt", "reference": 32},
        "seed": {"type": "fixed", "value": 3},
    },
    "huge": {f"n{place}": whole(1, 1000) for place in range(6)},
}
CONSTRAINTS: Mapping[str, list[Any]] = {"bound": [{"terms": {"warmup": 1, "decay": 1}, "at_most": 0.8}]}
# What a strategy wants beside its name.
SEARCHES: Mapping[str, Mapping[str, Any]] = {"bayesian": {"startup": 4}, "pbt": {"population": 4, "interval": 5}}
REFUSED = {
    ("grid", "huge"): ("space", "1,000,000,000,000,000,000 points"),
    ("cmaes", "conditions"): ("search.strategy", "use bayesian"),
    ("cmaes", "lattice"): ("search.strategy", "use bayesian"),
    ("cmaes", "one point"): ("search.strategy", "use bayesian"),
    ("cmaes", "huge"): ("search.strategy", "use bayesian"),
}
PAIRS = list(product(STRATEGIES, SPACES))
TAKEN = [pair for pair in PAIRS if pair not in REFUSED]
EVERYWHERE = list(product(["random", "sobol", "halton"], SPACES))


def posted(strategy: str, space: str) -> dict[str, Any]:
    return {
        "name": "conformance",
        "objective": {"external": True},
        "metrics": [{"name": "loss", "goal": "minimize"}],
        "space": SPACES[space],
        **({"constraints": CONSTRAINTS[space]} if space in CONSTRAINTS else {}),
        "search": {"strategy": strategy, **SEARCHES.get(strategy, {})},
        "budget": {"trials": 1000},
    }


def study(strategy: str, space: str) -> StudyDefinition:
    return parse_study(posted(strategy, space))


def draws(definition: StudyDefinition, most: int) -> range:
    """Return draw indices that there are: a grid ends."""
    return range(min(most, definition.trials))


def loss(params: Mapping[str, Any]) -> float:
    return sum(value for value in params.values() if isinstance(value, int | float) and math.isfinite(value))


STATES = ["completed", "running", "pruned", "diverged", "completed", "failed", "queued", "cancelled", "completed"]


def history(definition: StudyDefinition, count: int) -> list[TrialRecord]:
    """Return trials of every state with their curves, at the points of another seed, in the order of their last changes."""
    strategy = make(definition, 99)
    points = [suggestion.params for suggestion in strategy.suggest(draws(definition, count))]
    scored = {"completed", "pruned"}
    trials = [
        replace(
            record(
                place,
                seq=10 + place * 7 % count,
                state=state,
                params=params,
                score=loss(params) if state in scored else None,
            ),
            curve={1: loss(params) + 2.0, 3: loss(params) + 1.0},
        )
        for place, params in enumerate(points)
        for state in [STATES[place % len(STATES)]]
    ]
    return sorted(trials, key=lambda trial: trial.seq)


def told(definition: StudyDefinition, seed: int, trials: Sequence[TrialRecord]) -> Strategy:
    strategy = make(definition, seed)
    strategy.update(trials)
    return strategy


def faulty(definition: StudyDefinition, suggestions: Sequence[Suggestion]) -> list[Any]:
    return [
        (suggestion.params, faults)
        for suggestion in suggestions
        if (faults := validate_point(plan_of(definition), suggestion.params))
    ]


def test_every_strategy_of_the_schema_exists() -> None:
    assert set(STRATEGIES) == set(SCHEMAS)


@pytest.mark.parametrize(("strategy", "space"), REFUSED)
def test_what_it_does_not_take_is_refused_with_a_way_out(strategy: str, space: str) -> None:
    path, words = REFUSED[strategy, space]
    with pytest.raises(InvalidStudy) as refused:
        study(strategy, space)
    assert [fault.path for fault in refused.value.faults] == [path]
    assert words in refused.value.faults[0].message


@pytest.mark.parametrize(("strategy", "space"), TAKEN)
def test_points_lie_in_the_space(strategy: str, space: str) -> None:
    definition = study(strategy, space)
    fresh = make(definition, 3).suggest(draws(definition, 16))
    assert len(fresh) == len(draws(definition, 16))
    assert faulty(definition, fresh) == []
    knowing = told(definition, 3, history(definition, 40)).suggest(draws(definition, 8))
    assert faulty(definition, knowing) == []


@pytest.mark.parametrize(("strategy", "space"), TAKEN)
def test_points_are_plain_json(strategy: str, space: str) -> None:
    """Neither NaN nor a library's own kind of number reaches the ledger, and what is written is what is read."""
    definition = study(strategy, space)
    for suggestion in told(definition, 3, history(definition, 40)).suggest(draws(definition, 6)):
        assert json.loads(json.dumps(suggestion.params, allow_nan=False)) == suggestion.params
        assert json.loads(json.dumps(suggestion.why, allow_nan=False)) == suggestion.why
        assert {type(value) for value in suggestion.params.values()} <= {int, float, str, bool, type(None)}
        assert len(suggestion.origin) <= 16


@pytest.mark.parametrize(("strategy", "space"), TAKEN)
def test_seed_and_history_decide(strategy: str, space: str) -> None:
    definition = study(strategy, space)
    trials, wanted = history(definition, 40), draws(definition, 8)
    once = told(definition, 5, trials).suggest(wanted)
    assert told(definition, 5, trials).suggest(wanted) == once
    if space != "one point":
        others = [told(definition, seed, trials).suggest(wanted) for seed in range(6, 12)]
        assert any([s.params for s in other] != [s.params for s in once] for other in others)


@pytest.mark.parametrize(("strategy", "space"), TAKEN)
def test_each_point_of_a_batch_can_be_derived_by_itself(strategy: str, space: str) -> None:
    """From the draw alone; or, with a history, from the first draw of the batch and the same history."""
    definition = study(strategy, space)
    trials = history(definition, 24)
    batch = told(definition, 5, trials).suggest(draws(definition, 6))
    for place, suggestion in enumerate(batch):
        again = told(definition, 5, trials)
        first = suggestion.why.get("batch", place) if again.reads_history else place
        assert again.suggest(range(first, place + 1))[-1] == suggestion


@pytest.mark.parametrize(("strategy", "space"), TAKEN)
def test_one_that_reads_no_history_does_not(strategy: str, space: str) -> None:
    definition = study(strategy, space)
    knowing = told(definition, 5, history(definition, 24))
    if not knowing.reads_history:
        assert knowing.suggest(draws(definition, 6)) == make(definition, 5).suggest(draws(definition, 6))
    else:
        assert all("cutoff" in suggestion.why for suggestion in knowing.suggest(draws(definition, 3)))


@pytest.mark.parametrize(("strategy", "space"), TAKEN)
def test_points_under_way_do_not_stop_it(strategy: str, space: str) -> None:
    """Nothing has finished, and much is out: reserved without a point, running, waiting."""
    definition = study(strategy, space)
    points = make(definition, 8).suggest(draws(definition, 12))
    out = [
        record(place, seq=place + 1, state="queued" if place % 3 == 2 else "running", params=suggestion.params)
        for place, suggestion in enumerate(points)
    ]
    out[1:2] = [replace(trial, params=None) for trial in out[1:2]]
    assert faulty(definition, told(definition, 8, out).suggest(draws(definition, 4))) == []


@pytest.mark.parametrize("score", [-1e300, 0.0, 1e300])
@pytest.mark.parametrize(
    ("strategy", "space"), [pair for pair in TAKEN if pair[1] in {"numbers", "lattice", "conditions"}]
)
def test_scores_of_any_size_are_borne(strategy: str, space: str, score: float) -> None:
    """All the same, and one of them apart by all that a number can be."""
    definition = study(strategy, space)
    points = make(definition, 2).suggest(draws(definition, 24))
    trials = [
        record(place, seq=place + 1, state="completed", params=suggestion.params, score=score if place else -score)
        for place, suggestion in enumerate(points)
    ]
    assert faulty(definition, told(definition, 8, trials).suggest(draws(definition, 6))) == []


@pytest.mark.parametrize(("strategy", "space"), EVERYWHERE)
def test_the_whole_range_is_reached(strategy: str, space: str) -> None:
    """Every value of a list, and some of each half of a range; a model need not look everywhere, and a grid has its points."""
    definition = study(strategy, space)
    taken = [suggestion.params for suggestion in make(definition, 4).suggest(draws(definition, 500))]
    for node in plan(definition.space).nodes:
        shares = {share_of(node.parameter, params[node.name]) for params in taken if node.name in params}
        assert min(share or 0.0 for share in shares) <= 0.5 <= max(share or 0.0 for share in shares)
        if isinstance(node.parameter, CategoricalParameter):
            assert len(shares) == len(node.parameter.choices)


def test_no_index_is_no_point() -> None:
    for strategy in STRATEGIES:
        assert make(study(strategy, "numbers"), 1).suggest(range(4, 4)) == []


def test_the_spaces_are_what_they_are_called() -> None:
    definition = study("random", "huge")
    assert is_discrete(definition.space)
    assert count_grid(definition.space, 10**19) == 10**18 > GRID_LIMIT
    assert len(SPACES["wide"]) == 64
