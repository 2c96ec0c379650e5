"""What rung scores teach the model: of trials that wait, and of trials that run."""

import copy
import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.records import record
from search.definition.parse import EXAMPLE_STUDIES, parse_study
from search.definition.prunings import AshaPruning, ThresholdPruning, has_curves
from search.records import Suggestion
from search.strategies.table import make
from tests.search.strategies.digits import definition


def test_trials_that_wait_at_a_rung_teach_the_model() -> None:
    line = {"warmup": {"type": "float", "low": 0.0, "high": 0.9}}
    strategy = make(definition(line, startup=0), 1)
    waiting = [
        replace(
            record(number, seq=number, state="queued", params={"warmup": 0.045 * number}, score=abs(number - 5.0)),
            waiting_step=3,
            curve={3: abs(number - 5.0)},
        )
        for number in range(20)
    ]
    strategy.update(waiting)
    suggestion, *others = strategy.suggest(range(30, 38))
    assert suggestion.origin == "model"
    assert suggestion.why["waiting"] == {str(number): 3 for number in range(20)}
    assert suggestion.why["pending"] == []
    assert statistics.median(abs(each.params["warmup"] - 0.225) for each in (suggestion, *others)) < 0.15


LINE = {"warmup": {"type": "float", "low": 0.0, "high": 0.9}}
PASSED = range(5)  # trials that completed, and had a score at step 3


def with_running(curve: Mapping[int, float], *, at: float, passed: int = len(PASSED), **search: Any) -> Suggestion:
    """Suggest a point of a line, where loss falls to the right, beside a trial that runs at a place with this curve."""
    raw = copy.deepcopy(EXAMPLE_STUDIES["digits-mlp"]) | {"space": LINE, "pruning": {"kind": "asha"}}
    strategy = make(parse_study({**raw, "search": {"strategy": "bayesian", "startup": 0, **search}}), 1)
    ended = [
        replace(
            record(number, seq=number, state="completed", params={"warmup": 0.1 * number}, score=1.0 - 0.1 * number),
            curve={1: 3.0 - 0.1 * number, 3: 2.0 - 0.1 * number} if number < passed else {1: 3.0},
        )
        for number in PASSED
    ]
    strategy.update([*ended, replace(record(9, seq=9, state="running", params={"warmup": at}), curve=curve)])
    return strategy.suggest(range(30, 31))[0]


def test_the_curve_of_a_running_trial_teaches_the_model() -> None:
    unknown, good, bad = (with_running(curve, at=0.8) for curve in ({}, {1: 9.0, 3: 0.5}, {1: 0.1, 3: 4.0}))
    assert (unknown.why["pending"], good.why["pending"], bad.why["pending"]) == ([9], [], [])
    assert "reached" not in unknown.why
    assert good.why["reached"] == bad.why["reached"] == {"9": 3}
    assert good.params["warmup"] > 0.6 > bad.params["warmup"]
    assert len({unknown.params["warmup"], good.params["warmup"], bad.params["warmup"]}) == 3
    assert unknown.why["because"] == good.why["because"] == "6 results, up to 200"


def test_a_running_trial_is_pending_where_its_curve_tells_nothing() -> None:
    """No other had a score at its step, too few had one, or the model does not ask what curves come to."""
    curve = {1: 9.0, 3: 0.5}
    cases: list[tuple[Mapping[int, float], dict[str, Any]]] = [
        ({**curve, 4: 0.5}, {}),
        (curve, {"passed": 2}),
        (curve, {"model": "tpe"}),
    ]
    for known, more in cases:
        suggestion = with_running(known, at=0.8, **more)
        assert "reached" not in suggestion.why
        assert suggestion == with_running({}, at=0.8, **more)
    assert with_running(curve, at=0.8, passed=3) != with_running({}, at=0.8, passed=3)


def test_scores_at_rungs_of_a_threshold_are_no_curves() -> None:
    assert not has_curves(ThresholdPruning(kind="threshold", lower=0.3))
    assert has_curves(AshaPruning(kind="asha"))
