"""CMA-ES: that it learns, restarts, bears late results, and depends on nothing but what it says."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from benchmarks.records import record
from search.definition.parse import StudyDefinition, parse_study
from search.errors import InvalidStudy
from search.records import TrialRecord
from search.strategies.evolution import advance, begin, is_spent, rates, sample
from search.strategies.table import make

Point = Sequence[float]


def study(space: Mapping[str, Any], strategy: str = "cmaes", **search: object) -> StudyDefinition:
    return parse_study(
        {
            "name": "evolution",
            "objective": {"external": True},
            "metrics": [{"name": "loss", "goal": "minimize"}],
            "space": space,
            "search": search | {"strategy": strategy},
            "budget": {"trials": 1000},
        }
    )


def cube(dimensions: int, low: float = -2.0, high: float = 2.0) -> dict[str, Any]:
    return {f"x{place}": {"type": "float", "low": low, "high": high} for place in range(dimensions)}


def rosenbrock(x: Point) -> float:
    return sum(100 * (after - before**2) ** 2 + (1 - before) ** 2 for before, after in pairwise(x))


def ellipsoid(x: Point) -> float:
    return float(sum(10 ** (4 * place / (len(x) - 1)) * (value - 0.7) ** 2 for place, value in enumerate(x)))


def optimize(
    definition: StudyDefinition, score: Callable[[Point], float], *, seed: int, trials: int, together: int = 1
) -> list[TrialRecord]:
    """Run a study, `together` trials at a time, which end in the reverse order of their numbers."""
    strategy = make(definition, seed)
    records: list[TrialRecord] = []
    for start in range(0, trials, together):
        batch = [
            record(
                start + place,
                seq=0,
                state="completed",
                params=suggestion.params,
                score=score([*suggestion.params.values()]),
            )
            for place, suggestion in enumerate(strategy.suggest(range(start, start + together)))
        ]
        ended = [replace(trial, seq=len(records) + place) for place, trial in enumerate(reversed(batch), start=1)]
        strategy.update(ended)
        records += ended
    return records


def best(records: Sequence[TrialRecord]) -> float:
    return min(trial.score for trial in records if trial.score is not None)


@pytest.mark.parametrize("together", [1, 8])
@pytest.mark.parametrize("score", [rosenbrock, ellipsoid])
def test_it_beats_random_search(score: Callable[[Point], float], together: int) -> None:
    """Median regret after 200 trials over ten seeds, in five dimensions; both functions have their least value at 0."""
    evolved = [best(optimize(study(cube(5)), score, seed=s, trials=200, together=together)) for s in range(10)]
    random = [best(optimize(study(cube(5), "random"), score, seed=s, trials=200)) for s in range(10)]
    assert statistics.median(evolved) < statistics.median(random) / 3


def test_it_finds_the_bottom_of_a_narrow_valley() -> None:
    assert best(optimize(study(cube(3)), rosenbrock, seed=1, trials=1000)) < 1e-8


def test_scales_do_not_matter() -> None:
    """A log scale is searched by its exponent: the same cube, the same course."""
    plain = optimize(study(cube(2, -4.0, 0.0)), lambda x: rosenbrock([value + 3 for value in x]), seed=3, trials=60)
    space = {name: {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"} for name in ("x0", "x1")}
    onto = optimize(study(space), lambda x: rosenbrock([math.log10(value) + 3 for value in x]), seed=3, trials=60)
    for one, other in zip(plain, onto, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-4, abs=1e-6)


def test_whole_numbers_are_not_stuck_between_steps() -> None:
    space = {"n": {"type": "int", "low": 0, "high": 9}, **cube(2)}

    def score(x: Point) -> float:
        n, *rest = x
        return (n - 8) ** 2 + sum(value**2 for value in rest)

    found = [optimize(study(space), score, seed=seed, trials=150) for seed in range(5)]
    assert [min(records, key=lambda trial: trial.score or 0.0).params["n"] for records in found] == [8] * 5  # type: ignore[index]


def test_it_begins_at_the_defaults() -> None:
    far = {name: {**parameter, "default": 1.9} for name, parameter in cube(4).items()}
    points = [suggestion.params for suggestion in make(study(far), 1).suggest(range(50))]
    assert statistics.mean(point["x0"] for point in points) > 0.8


def test_points_of_one_generation_come_from_one_distribution() -> None:
    """What is suggested depends on what has finished, not on what is out or in how many calls it was asked for."""
    definition = study(cube(3))
    records = optimize(definition, rosenbrock, seed=2, trials=30)
    knows, sees = make(definition, 2), make(definition, 2)
    knows.update(records)
    for trial in records:
        sees.update([replace(trial, state="running", score=None, seq=0)])
        sees.update([trial])
    sees.update([record(40, seq=20, state="running", params=records[0].params)])
    apart = [sees.suggest(range(draw, draw + 1))[0] for draw in range(50, 56)]
    assert apart == knows.suggest(range(50, 56))
    assert apart[0].why == {"draw": 50, "cutoff": 30, "generation": 4, "restarts": 0}


def test_a_result_counts_once() -> None:
    definition = study(cube(3))
    records = optimize(definition, rosenbrock, seed=2, trials=30)
    once, twice = make(definition, 2), make(definition, 2)
    once.update(records)
    twice.update([trial for each in records for trial in (each, each)])
    assert once.suggest(range(3)) == twice.suggest(range(3))


def test_failed_cancelled_and_strange_trials_teach_nothing() -> None:
    definition = study(cube(2), population=4)
    strange = [
        record(1, seq=1, state="failed", params={"x0": 0.0, "x1": 0.0}),
        record(2, seq=2, state="cancelled", params={"x0": 0.0, "x1": 0.0}),
        record(3, seq=3, state="completed", params={"x0": 9.0, "x1": 0.0}, score=1.0),
        record(4, seq=4, state="completed", params={"x0": 1.0}, score=1.0),
        record(5, seq=5, state="completed", params={"x0": "a", "x1": 1.0}, score=1.0),
        record(6, seq=6, state="completed", params=None, score=1.0),
        record(7, seq=7, state="pruned", params={"x0": 1.0, "x1": 1.0}),
    ]
    strategy = make(definition, 1)
    strategy.update(strange * 3)
    assert strategy.suggest(range(1))[0].why["generation"] == 0


def test_diverged_trials_drive_it_away() -> None:
    """To the right everything diverges, and all that completes is the same but for a hint: it moves to the left."""
    definition = study(cube(2, 0.0, 1.0))
    strategy, seq = make(definition, 5), 0
    for start in range(0, 60, 6):
        for draw, suggestion in enumerate(strategy.suggest(range(start, start + 6)), start):
            seq += 1
            x = suggestion.params["x0"]
            state, score = ("diverged", None) if x > 0.4 else ("completed", 1.0 + suggestion.params["x1"])
            strategy.update([record(draw, seq=seq, state=state, params=suggestion.params, score=score)])
    points = [suggestion.params["x0"] for suggestion in strategy.suggest(range(100, 150))]
    assert statistics.median(points) < 0.4


def test_pruned_trials_rank_behind_completed_ones() -> None:
    """Pruned early with the best scores of all, the left half draws nothing; the right half completes."""
    definition = study(cube(2, 0.0, 1.0))
    strategy, seq = make(definition, 5), 0
    for start in range(0, 60, 6):
        for draw, suggestion in enumerate(strategy.suggest(range(start, start + 6)), start):
            seq += 1
            left = suggestion.params["x0"] < 0.5
            state, score = ("pruned", -5.0) if left else ("completed", suggestion.params["x1"])
            strategy.update([record(draw, seq=seq, state=state, params=suggestion.params, score=score)])
    points = [suggestion.params["x0"] for suggestion in strategy.suggest(range(100, 150))]
    assert statistics.median(points) > 0.5


def test_it_starts_again_where_nothing_is_to_be_learned() -> None:
    records = optimize(study(cube(2)), lambda _: 1.0, seed=1, trials=6 + 12 + 24)
    strategy = make(study(cube(2)), 1)
    strategy.update(records)
    why = strategy.suggest(range(1))[0].why
    assert (why["restarts"], why["generation"]) == (3, 0)


def test_it_starts_again_once_it_is_narrow() -> None:
    records = optimize(study(cube(2)), lambda x: sum(value**2 for value in x), seed=1, trials=600)
    strategy = make(study(cube(2)), 1)
    strategy.update(records)
    assert strategy.suggest(range(1))[0].why["restarts"] >= 1
    assert best(records) < 1e-15


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({**cube(2), "kind": {"type": "categorical", "choices": ["a", "b"]}}, "kind is a choice"),
        (
            {
                "n": {"type": "int", "low": 1, "high": 2},
                "x": {"type": "float", "low": 0.0, "high": 1.0, "when": {"n": [1]}},
            },
            "x has a condition",
        ),
        ({"n": {"type": "int", "low": 1, "high": 9}}, "needs a continuous parameter"),
    ],
)
def test_what_it_cannot_search_is_refused(space: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidStudy) as refused:
        study(space)
    (fault,) = refused.value.faults
    assert fault.path == "search.strategy"
    assert words in fault.message
    assert "use bayesian" in fault.message


def test_a_faulty_parameter_is_not_blamed_on_the_strategy() -> None:
    with pytest.raises(InvalidStudy) as refused:
        study({"lr": {"type": "float", "low": 0.0, "high": 1.0, "scale": "log"}})
    assert [fault.path for fault in refused.value.faults] == ["space.lr.low"]


def test_the_mean_step_of_a_generation_is_the_weighted_one() -> None:
    """Written out for one generation of points near the mean, where no step is cut."""
    n, population = 3, 8
    given = rates(n, population)
    points = sample(begin(np.full(n, 0.5)), np.random.default_rng(1).normal(size=(population, n)) * 0.3, np.zeros(n))
    moved = advance(begin(np.full(n, 0.5)), points, given)
    half = given.weights[: population // 2]
    assert half.sum() == pytest.approx(1)
    assert moved.mean == pytest.approx(half @ points[: population // 2])
    assert moved.root @ moved.root == pytest.approx(moved.covariance)
    assert moved.root @ moved.inverse == pytest.approx(np.eye(n))
    assert not is_spent(moved)


@pytest.mark.parametrize("population", [4, 7, 100, 1000])
@pytest.mark.parametrize("dimensions", [1, 2, 64])
def test_rates_keep_the_covariance_positive(dimensions: int, population: int) -> None:
    given = rates(dimensions, population)
    assert given.rank_one + given.rank_mu <= 1 + 1e-12
    assert 0 < given.path < 1
    distribution = begin(np.full(dimensions, 0.5))
    draw = np.random.default_rng(3)
    for _ in range(8):
        points = np.clip(sample(distribution, draw.normal(size=(population, dimensions)), np.zeros(dimensions)), 0, 1)
        distribution = advance(distribution, points, given)
    assert np.linalg.eigvalsh(distribution.covariance).min() > 0
    assert np.isfinite(distribution.root).all()
