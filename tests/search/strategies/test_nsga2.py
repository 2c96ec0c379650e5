"""NSGA-II: that it finds fronts, obeys constraints, and that any point can be derived again."""

import copy
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from benchmarks.records import record
from search.definition.examples import EXAMPLE_STUDIES
from search.definition.parse import StudyDefinition, parse_study
from search.definition.planning import plan_of
from search.pareto import hypervolume
from search.records import Params, Suggestion, TrialRecord
from search.scoring import score, violation
from search.space.validation import validate_point
from search.strategies.base import Strategy
from search.strategies.breeding import Parent, Pool, gene
from search.strategies.table import make

Measure: TypeAlias = Callable[[Params], Mapping[str, float]]
DIGITS = EXAMPLE_STUDIES["digits-mlp"]["space"]
LINE = {f"x{place}": {"type": "float", "low": 0.0, "high": 1.0} for place in range(5)}
TWO = [{"name": "a", "goal": "minimize"}, {"name": "b", "goal": "minimize"}]
ONE = TWO[:1]
BOUND: dict[str, Any] = {"name": "c", "goal": "maximize", "role": "constraint", "threshold": 0.5}


def definition(
    space: Mapping[str, Any] = LINE,
    *,
    metrics: Sequence[Mapping[str, Any]] = TWO,
    strategy: str = "nsga2",
    **search: Any,
) -> StudyDefinition:
    raw: dict[str, Any] = {
        "name": "several",
        "objective": {"external": True},
        "metrics": list(metrics),
        "space": copy.deepcopy(dict(space)),
        "search": {"strategy": strategy, **search},
        "budget": {"trials": 1000},
    }
    return parse_study(raw)


def told(
    study: StudyDefinition, number: int, suggestion: Suggestion, values: Mapping[str, float] | None, **more: Any
) -> TrialRecord:
    """Return a trial as the ledger would give it: completed with these values, else as `more` says."""
    made = record(
        number, seq=more.pop("seq", number + 1), state=more.pop("state", "completed"), params=suggestion.params
    )
    return replace(
        made, values=values, score=score(study, values), violation=violation(study, values), why=suggestion.why, **more
    )


def optimize(study: StudyDefinition, measure: Measure, *, seed: int, trials: int, batch: int = 1) -> list[TrialRecord]:
    """Run a study, `batch` trials at a time."""
    strategy = make(study, seed)
    records: list[TrialRecord] = []
    for start in range(0, trials, batch):
        points = strategy.suggest(range(start, start + batch))
        ended = [told(study, n, point, measure(point.params)) for n, point in enumerate(points, start=start)]
        strategy.update(ended)
        records += ended
    return records


def zdt1(params: Params) -> dict[str, float]:
    """Zitzler, Deb and Thiele (2000): the front is where all but the first parameter are 0."""
    first, *others = (params[name] for name in LINE)
    g = 1 + 9 * sum(others) / len(others)
    return {"a": first, "b": g * (1 - math.sqrt(first / g))}


@pytest.mark.parametrize("batch", [1, 10])
def test_it_beats_random_search_on_two_objectives(batch: int) -> None:
    def reached(strategy: str, seed: int) -> float:
        ended = optimize(definition(strategy=strategy), zdt1, seed=seed, trials=120, batch=batch)
        return hypervolume([(t.values["a"], t.values["b"]) for t in ended if t.values], (1.1, 6.0))

    bred = [reached("nsga2", seed) for seed in range(10)]
    drawn = [reached("random", seed) for seed in range(10)]
    assert statistics.median(bred) > 1.1 * statistics.median(drawn)
    assert sum(ours > theirs for ours, theirs in zip(bred, drawn, strict=True)) >= 9


def test_it_beats_random_search_on_one_objective_with_conditions() -> None:
    def loss(params: Params) -> dict[str, float]:
        rate = abs(math.log10(params["lr"]) + 2)
        return {"a": rate + params["warmup"] + (params["optimizer"] == "sgd") + abs(params.get("momentum", 0.5) - 0.9)}

    def reached(strategy: str, seed: int) -> float:
        ended = optimize(definition(DIGITS, metrics=ONE, strategy=strategy), loss, seed=seed, trials=100)
        return min(trial.score for trial in ended if trial.score is not None)

    bred = statistics.median(reached("nsga2", seed) for seed in range(10))
    assert bred < 0.5 * statistics.median(reached("random", seed) for seed in range(10))


def test_constraints_draw_it_into_the_feasible_corner() -> None:
    """Feasible is a hundredth of the square, far from where the objective would lead."""
    space = {"x": LINE["x0"], "y": LINE["x0"]}
    study = definition(space, metrics=[*ONE, {**BOUND, "threshold": 0.9}])

    def measure(params: Params) -> dict[str, float]:
        return {"a": params["x"] + params["y"], "c": min(params["x"], params["y"])}

    feasible = [
        sum(trial.violation == 0 for trial in optimize(study, measure, seed=seed, trials=120)[60:]) for seed in range(5)
    ]
    assert statistics.median(feasible) > 6  # at random it is 0.6 of 60


def test_of_the_infeasible_the_nearest_is_bred_from_and_the_unknown_and_diverged_last() -> None:
    study = definition(metrics=[*TWO, BOUND], population_size=4)
    strategy = make(study, 1)
    points = strategy.suggest(range(10))
    good, far, near, unknown = (
        {"a": 1.0, "b": 1.0, "c": 0.6},
        {"a": 0.0, "b": 0.0, "c": 0.1},
        {"a": 0.0, "b": 0.0, "c": 0.4},
        {"a": 0.0, "b": 0.0},
    )
    ended = [
        told(study, 0, points[0], None, state="diverged"),
        told(study, 1, points[1], unknown),
        told(study, 2, points[2], far),
        told(study, 3, points[3], good, state="pruned"),
        told(study, 4, points[4], near),
        told(study, 5, points[5], good),
        told(study, 6, points[6], {**good, "a": 2.0}),
        told(study, 7, points[7], None, state="failed"),
        told(study, 8, points[8], None, state="cancelled"),
        told(study, 9, points[9], None, state="running"),
    ]
    strategy.update(ended)
    parents = Counter(number for s in strategy.suggest(range(20, 220)) for number in s.why["parents"])
    assert parents.keys() == {5, 6, 4, 2}
    assert parents[5] > parents[6] > parents[4] > parents[2]
    strategy = make(definition(metrics=[*TWO, BOUND], population_size=7), 1)
    strategy.update(ended)
    parents = Counter(number for s in strategy.suggest(range(20, 620)) for number in s.why["parents"])
    assert [number for number, _ in parents.most_common()] == [5, 6, 4, 2, 1, 3, 0]


def test_startup_points_are_random_and_later_ones_bred() -> None:
    study = definition(population_size=4)
    strategy = make(study, 3)
    plain = make(definition(strategy="random"), 3).suggest(range(4))
    points = strategy.suggest(range(4))
    assert [point.params for point in points] == [point.params for point in plain]
    assert {(point.origin, point.why["generation"]) for point in points} == {("startup", 0)}
    strategy.update([told(study, n, point, zdt1(point.params)) for n, point in enumerate(points)])
    child = strategy.suggest(range(4, 5))[0]
    assert child.origin == "model"
    assert child.why.keys() == {"draw", "batch", "cutoff", "pending", "sampler", "generation", "parents"}
    assert (child.why["sampler"], child.why["generation"], child.why["cutoff"]) == ("nsga2", 1, 4)
    strategy.update([told(study, 4, child, {"a": -1.0, "b": -1.0})])  # it beats all others
    later = strategy.suggest(range(5, 40))
    assert {point.why["generation"] for point in later if 4 in point.why["parents"]} == {2}


def test_with_nothing_to_breed_from_it_draws() -> None:
    strategy = make(definition(population_size=2), 1)
    points = strategy.suggest(range(10, 13))
    assert [(point.origin, point.why["parents"]) for point in points] == [("random", [])] * 3
    strategy.update([replace(record(0, seq=1, state="completed", params={"strange": 1}), values={"a": 0.0, "b": 0.0})])
    assert strategy.suggest(range(10, 11))[0].origin == "random"


def test_one_parent_is_enough() -> None:
    study = definition(population_size=2)
    strategy = make(study, 1)
    first = strategy.suggest(range(1))[0]
    strategy.update([told(study, 0, first, zdt1(first.params))])
    children = strategy.suggest(range(2, 12))
    assert [child.why["parents"] for child in children if child.origin == "model"].count([0]) > 5
    assert first.params not in [child.params for child in children]


def messy(study: StudyDefinition) -> list[TrialRecord]:
    """Return sixty trials of every kind, ordered by the seq of their last change, which is not that of their numbers."""
    rng = random.Random(1)
    states = ["completed", "completed", "pruned", "diverged", "failed", "cancelled", "running", "completed"]
    points = make(definition(DIGITS, strategy="random"), 5).suggest(range(60))
    trials = []
    for n, point in enumerate(points):
        state = states[n % 8]
        values = {name: rng.random() for name in "abc"} if state in {"completed", "pruned"} else None
        why = {**point.why, "generation": n % 3}
        trials.append(told(study, n, replace(point, why=why), values, state=state, seq=100 + (n * 7) % 60))
    return sorted(trials, key=lambda trial: trial.seq)


def test_what_it_suggests_does_not_depend_on_how_it_heard() -> None:
    study = definition(DIGITS, metrics=[*TWO, BOUND], population_size=5)
    trials = messy(study)
    at_once = make(study, 1)
    at_once.update(trials)
    by_and_by = make(study, 1)
    for number, trial in enumerate(trials):
        started = replace(trial, state="running", score=None, values=None, violation=None, seq=number)
        by_and_by.update([replace(started, params=None)])
        by_and_by.update([started])
        by_and_by.suggest(range(number, number + 2))
        by_and_by.update([trial])
    assert by_and_by.suggest(range(60, 70)) == at_once.suggest(range(60, 70))


def replay(study: StudyDefinition, seed: int, suggestion: Suggestion, ledger: Sequence[TrialRecord]) -> Suggestion:
    """Derive a suggestion again from the trials as they ended and from its `why`."""
    why = suggestion.why
    known = [trial for trial in ledger if trial.seq <= why["cutoff"] and trial.number not in why["pending"]]
    pending = [
        replace(trial, state="running", score=None, values=None, violation=None, seq=0)
        for trial in ledger
        if trial.number in why["pending"]
    ]
    strategy = make(study, seed)
    strategy.update([*known, *pending, record(10**6, seq=why["cutoff"], state="failed", params=None)])
    return strategy.suggest(range(why["batch"], why["draw"] + 1))[-1]


def test_every_suggestion_can_be_derived_again() -> None:
    study = definition(DIGITS, metrics=[*TWO, BOUND], population_size=6)
    rng = random.Random(2)
    strategy = make(study, 4)
    ledger: dict[int, TrialRecord] = {}
    suggestions: list[Suggestion] = []
    seq = 0
    for start in range(0, 45, 3):  # three are claimed together; each group ends while the next one runs
        batch = strategy.suggest(range(start, start + 3))
        suggestions += batch
        for number, suggestion in enumerate(batch, start=start):
            seq += 1
            ledger[number] = told(study, number, suggestion, None, state="running", seq=seq)
            strategy.update([ledger[number]])
        for number in reversed(range(max(0, start - 3), start)):
            seq += 1
            values = None if number % 5 == 0 else {name: rng.random() for name in "abc"}
            state = "diverged" if values is None else "completed"
            ledger[number] = told(study, number, suggestions[number], values, state=state, seq=seq)
            strategy.update([ledger[number]])
    assert {suggestion.origin for suggestion in suggestions} == {"startup", "model"}
    for suggestion in suggestions:
        assert replay(study, 4, suggestion, list(ledger.values())) == suggestion


SMALL = {
    "optimizer": {"type": "categorical", "choices": ["sgd", "momentum"]},
    "batch_size": {"type": "int", "low": 16, "high": 48, "step": 16},
    "momentum": {"type": "float", "low": 0.8, "high": 0.9, "step": 0.05, "when": {"optimizer": ["momentum"]}},
}


def test_a_small_discrete_space_is_drawn_without_repeats() -> None:
    study = definition(SMALL, metrics=ONE, population_size=3)
    strategy = make(study, 1)
    suggestions: list[Suggestion] = []
    for start in range(0, 14, 2):
        batch = strategy.suggest(range(start, start + 2))
        ended = [told(study, n, point, {"a": float(n)}) for n, point in enumerate(batch, start=start)]
        strategy.update(ended)
        suggestions += batch
    keys = [suggestion.dedupe_key for suggestion in suggestions]
    assert None not in keys[:12]
    assert len(set(keys[:12])) == 12
    assert keys[12:] == [None, None]  # nothing is left: points come again, and may
    assert [validate_point(study.space, suggestion.params) for suggestion in suggestions] == [[]] * 14


ODD = {
    "optimizer": {"type": "categorical", "choices": ["momentum", "sgd"]},
    "lr": {"type": "float", "low": 0.1, "high": 0.1, "scale": "log"},
    "batch_size": {"type": "int", "low": 1, "high": 4096, "scale": "log"},
    "one": {"type": "int", "low": 7, "high": 7, "scale": "log"},
    "momentum": {"type": "float", "low": 0.9, "high": 0.9, "when": {"optimizer": ["momentum"]}},
    "weight_decay": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1},
    "warmup": {"type": "float", "low": 0.0, "high": 0.999999, "scale": "reverse_log"},
    "tiny": {"type": "float", "low": 1e-100, "high": 1e100, "scale": "log"},
    "wide": {"type": "float", "low": -1e100, "high": 1e100},
    "huge": {"type": "int", "low": -(2**53), "high": 2**53},
}


@pytest.mark.parametrize("search", [{}, {"mutation": 1.0, "crossover": 0.0}, {"mutation": 0.0, "crossover": 1.0}])
def test_odd_parameters_stay_in_their_domain(search: dict[str, Any]) -> None:
    study = definition(ODD, population_size=5, **search)

    def measure(params: Params) -> dict[str, float]:
        return {
            "a": params["weight_decay"] + params["warmup"],
            "b": 1 / params["batch_size"] + abs(params["wide"]) / 1e100,
        }

    ended = optimize(study, measure, seed=3, trials=80)
    assert [validate_point(study.space, trial.params or {}) for trial in ended] == [[]] * 80


@pytest.mark.parametrize("name", [name for name in ODD if name != "optimizer"])
def test_a_value_comes_back_from_its_place(name: str) -> None:
    study = definition(ODD)
    how = gene(next(node for node in plan_of(study).nodes if node.name == name))
    assert how is not None
    for suggestion in make(definition(ODD, strategy="random"), 1).suggest(range(50)):
        value = suggestion.params.get(name)
        if value is not None:
            assert how.value(how.share(value)) == pytest.approx(value, rel=1e-9, abs=1e-9 if name != "wide" else 1e85)


def test_the_best_of_a_pool_are_those_of_the_whole_history() -> None:
    """A pool forgets who can never be among the best; beside it one that forgets nobody."""
    rng = random.Random(3)
    trials = [
        Parent(n, {}, 0, (rng.random(), rng.random(), rng.randrange(3)) if n % 9 else None, (rng.randrange(4),))
        for n in range(400)
    ]
    small, whole = Pool(12), Pool(10_000)
    for start in range(0, 400, 40):
        small.add(trials[start : start + 40])
        whole.add(trials[start : start + 40])
        assert small.best() == whole.best()[:12]


def test_history_is_taken_in_at_once_or_in_parts() -> None:
    study = definition(population_size=8)
    trials = optimize(definition(strategy="random"), zdt1, seed=1, trials=3000, batch=3000)
    one, two = make(study, 1), make(study, 1)
    one.update(trials)
    for start in range(0, 3000, 100):
        two.update(trials[start : start + 100])
    assert _params(one) == _params(two)


def _params(strategy: Strategy) -> list[Params]:
    return [suggestion.params for suggestion in strategy.suggest(range(5000, 5020))]
