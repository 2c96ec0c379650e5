"""From the values of trials to the front that is shown."""

from collections.abc import Sequence
from typing import Any

import pytest

from search.analysis.tradeoffs import MOST_STEPS, Tradeoffs, tradeoffs
from search.definition.parse import StudyDefinition, parse_study
from search.records import Values


def study(*goals: str) -> StudyDefinition:
    """Return a study that optimizes the metrics m0, m1, ... with these goals."""
    raw: dict[str, Any] = {
        "name": "several",
        "objective": {"external": True},
        "metrics": [{"name": f"m{place}", "goal": goal} for place, goal in enumerate(goals)],
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "search": {"strategy": "random"},
        "budget": {"trials": 10},
    }
    return parse_study(raw)


def trials(*rows: Sequence[float]) -> list[tuple[int, Values]]:
    return [(10 + n, {f"m{place}": value for place, value in enumerate(row)}) for n, row in enumerate(rows)]


def test_a_front_in_the_directions_of_the_metrics() -> None:
    found = tradeoffs(study("minimize", "maximize"), trials((3, 5), (1, 1), (2, 4), (3, 4), (2.5, 1)))
    assert found.front == (11, 12, 10)
    assert found.reference == {"m0": 3.0, "m1": 1.0}
    assert found.hypervolume == 3.0  # of (2, 4): the ends lie on the reference
    assert found.history == ((10, 0.0), (11, 0.0), (12, 3.0), (13, 3.0), (14, 3.0))


def test_a_reference_of_ones_own() -> None:
    found = tradeoffs(study("minimize", "maximize"), trials((3, 5), (1, 1)), {"m0": 4.0, "m1": 0.0})
    assert found.reference == {"m0": 4.0, "m1": 0.0}
    assert found.hypervolume == 1 * 5 + 3 * 1 - 1 * 1
    assert found.history == ((10, 5.0), (11, 7.0))


def test_of_one_objective_the_best_alone() -> None:
    found = tradeoffs(study("maximize"), trials((1,), (3,), (2,), (3,)))
    assert (found.front, found.reference, found.hypervolume) == ((11,), {"m0": 1.0}, 2.0)


def test_equal_trials_are_all_on_the_front() -> None:
    assert tradeoffs(study("minimize", "minimize"), trials((1, 2), (1, 2), (2, 1))).front == (10, 11, 12)


def test_nothing_yet() -> None:
    assert tradeoffs(study("minimize", "minimize"), []) == Tradeoffs((), {}, None, ())


def test_a_long_history_is_thinned() -> None:
    rows = [(1000.0 - n, float(n % 7)) for n in range(777)]
    found = tradeoffs(study("minimize", "minimize"), trials(*rows))
    assert len(found.history) == MOST_STEPS
    assert found.history[-1] == (10 + 776, found.hypervolume)
    volumes = [volume for _, volume in found.history]
    assert volumes == sorted(volumes)


def test_more_objectives_cost_too_much_for_a_long_front() -> None:
    """Of five losses, with the fifth falling as the first rises: every trial is on the front."""
    few, many = ([(float(n), 1.0, 1.0, 1.0, float(-n)) for n in range(size)] for size in (64, 65))
    definition = study(*["minimize"] * 5)
    reference = {f"m{place}": 100.0 for place in range(5)}
    found = tradeoffs(definition, trials(*few), reference)
    assert (len(found.front), found.history) == (64, ())
    # Boxes on a staircase of two losses, 99 wide in each of the other three.
    stairs = sum(100.0 - n for n in range(1, 64)) + 100.0 * 100.0
    assert found.hypervolume == pytest.approx(99.0**3 * stairs)
    assert tradeoffs(definition, trials(*many), reference).hypervolume is None


def test_what_is_not_finite_is_not_shown() -> None:
    found = tradeoffs(study("minimize", "minimize"), trials((1e308, -1e308), (-1e308, 1e308), (0.0, 0.0)))
    assert (len(found.front), found.hypervolume) == (3, None)
    assert found.history == ((10, 0.0), (11, 0.0))
