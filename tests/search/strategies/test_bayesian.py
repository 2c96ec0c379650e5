"""The model-based strategy: what it reads, that it learns, and that any suggestion can be derived again."""

import copy
import logging
import math
import statistics
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.records import record
from search.definition.parse import EXAMPLE_STUDIES, StudyDefinition, parse_study
from search.definition.planning import plan_of
from search.errors import InvalidStudy
from search.records import Params, Suggestion, TrialRecord
from search.space.constraints import Constraint
from search.space.validation import validate_point
from search.strategies.base import Strategy
from search.strategies.evidence import Evidence
from search.strategies.table import make
from search.surrogates.columns import Columns
from tests.search.strategies.digits import DIGITS, definition


def loss(params: Params) -> float:
    rate = abs(math.log10(params["lr"]) + 2)
    return float(rate + params["warmup"] + (params["optimizer"] == "sgd") + abs(params.get("momentum", 0.5) - 0.9))


def optimize(
    study: StudyDefinition, *, seed: int, trials: int, score: Callable[[Params], float] = loss
) -> tuple[Strategy, list[TrialRecord]]:
    """Run a study one trial at a time."""
    strategy = make(study, seed)
    records = []
    for number in range(trials):
        params = strategy.suggest(range(number, number + 1))[0].params
        records.append(record(number, seq=number + 1, state="completed", params=params, score=score(params)))
        strategy.update(records[-1:])
    return strategy, records


def test_startup_points_fill_the_space_and_later_ones_are_the_models() -> None:
    strategy, records = optimize(definition(startup=8), seed=1, trials=8)
    suggestions = strategy.suggest(range(6, 10))
    assert [suggestion.origin for suggestion in suggestions] == ["startup"] * 2 + ["model"] * 2
    chosen = [record.params["optimizer"] for record in records if record.params is not None]
    assert {chosen.count(name) for name in DIGITS["optimizer"]["choices"]} <= {1, 2, 3}
    assert strategy.reads_history


def test_before_anything_has_completed_points_are_spread() -> None:
    suggestions = make(definition(startup=0), 1).suggest(range(4))
    assert [(each.origin, each.why["sampler"]) for each in suggestions] == [("startup", "spread")] * 4


def test_it_beats_random_search() -> None:
    def best(strategy: str, seed: int) -> float:
        _, records = optimize(definition(strategy=strategy), seed=seed, trials=50)
        return min(trial.score for trial in records if trial.score is not None)

    model = statistics.median(best("bayesian", seed) for seed in range(7))
    random = statistics.median(best("random", seed) for seed in range(7))
    assert model < 0.75 * random


@pytest.mark.parametrize(
    ("search", "trials", "sampler", "because"),
    [
        ({}, 12, "gp", "12 results, up to 200"),
        ({}, 201, "tpe", "201 results, more than 200"),
        ({"model": "tpe"}, 12, "tpe", "search.model"),
        ({"model": "gp"}, 201, "gp", "search.model"),
    ],
)
def test_it_chooses_its_model_and_says_why(search: dict[str, Any], trials: int, sampler: str, because: str) -> None:
    raw = copy.deepcopy(EXAMPLE_STUDIES["digits-mlp"])
    strategy = make(parse_study({**raw, "search": {"strategy": "bayesian", **search}}), 1)
    points = make(definition(strategy="random"), 2).suggest(range(trials))
    strategy.update(
        [record(i, seq=i, state="completed", params=p.params, score=loss(p.params)) for i, p in enumerate(points)]
    )
    (suggestion,) = strategy.suggest(range(trials, trials + 1))
    assert (suggestion.why["sampler"], suggestion.why["because"]) == (sampler, because)
    assert ("expected_improvement" in suggestion.why) == (sampler == "gp")


def test_few_trials_search_few_parameters() -> None:
    raw = copy.deepcopy(EXAMPLE_STUDIES["digits-mlp"])
    posted = parse_study({**raw, "budget": {"trials": 6}})
    assert posted.search.held == ("momentum", "warmup")  # type: ignore[union-attr]
    few = make(posted, 1).suggest(range(6))
    assert {suggestion.params.get("warmup") for suggestion in few} == {0.0}
    assert few[0].why["held"] == ["momentum", "warmup"]
    assert len({suggestion.params["lr"] for suggestion in few}) == 6
    many = make(parse_study({**raw, "budget": {"trials": 60}}), 1).suggest(range(6))
    assert "held" not in many[0].why
    assert len({suggestion.params["warmup"] for suggestion in many}) == 6


def test_what_is_held_does_not_follow_a_later_budget() -> None:
    raw = copy.deepcopy(EXAMPLE_STUDIES["digits-mlp"])
    posted = parse_study({**raw, "budget": {"trials": 6}})
    raised = parse_study({**posted.model_dump(mode="json"), "budget": {"trials": 100}})
    assert [s.params for s in make(raised, 1).suggest(range(4))] == [
        s.params for s in make(posted, 1).suggest(range(4))
    ]


def test_a_term_of_a_constraint_is_not_held() -> None:
    raw = copy.deepcopy(EXAMPLE_STUDIES["digits-mlp"])
    raw |= {"budget": {"trials": 5}, "constraints": [{"terms": {"warmup": 1.0}, "at_least": 0.1}]}
    study = parse_study(raw)
    assert study.search.held == ("momentum",)  # type: ignore[union-attr]
    assert all(suggestion.params["warmup"] >= 0.1 for suggestion in make(study, 1).suggest(range(5)))
    with pytest.raises(InvalidStudy, match="has to move"):
        parse_study({**raw, "search": {"strategy": "bayesian", "held": ["warmup"]}})
    with pytest.raises(InvalidStudy, match=r"no parameter 'x'"):
        parse_study({**raw, "search": {"strategy": "bayesian", "held": ["x"]}})


@pytest.mark.parametrize("score", [1e300, -1e300, 1e160])
def test_enormous_scores_are_borne(score: float) -> None:
    strategy, records = optimize(definition(startup=2), seed=1, trials=8)
    strategy.update([record(50, seq=50, state="completed", params=records[0].params, score=score)])
    for suggestion in strategy.suggest(range(60, 64)):
        assert math.isfinite(suggestion.why["expected_improvement"])


@pytest.mark.parametrize("score", [1e300, -1e300, 1e160])
def test_enormous_scores_at_rungs_are_borne(score: float) -> None:
    strategy, records = optimize(definition(startup=2), seed=1, trials=8)
    strategy.update([replace(trial, curve={3: -score}) for trial in records])
    cut = replace(records[0], number=50, seq=50, state="pruned", curve={3: score})
    strategy.update([cut, replace(cut, number=51, state="running", score=None)])
    for suggestion in strategy.suggest(range(60, 64)):
        assert suggestion.why["reached"] == {"51": 3}
        assert math.isfinite(suggestion.why["expected_improvement"])


def test_early_points_lie_where_the_catalog_advises() -> None:
    raw = copy.deepcopy(EXAMPLE_STUDIES["digits-mlp"])
    raw["space"] = {
        "optimizer": {"type": "categorical", "choices": ["adam"]},
        "lr": {**DIGITS["lr"], "low": 1e-8, "high": 1e3},
    }
    points = make(parse_study(raw), 3).suggest(range(8))
    advised = [1e-4 <= point.params["lr"] <= 1e-1 for point in points]
    assert sum(advised) >= 6
    assert advised[3] is False or advised[7] is False


def test_why_says_what_was_seen() -> None:
    strategy = make(definition(startup=0), 1)
    points = [suggestion.params for suggestion in make(definition(strategy="random"), 9).suggest(range(3))]
    strategy.update(
        [
            record(0, seq=4, state="completed", params=points[0], score=1.0),
            record(2, seq=5, state="running", params=points[1]),
            record(1, seq=6, state="queued", params=points[2]),
            record(3, seq=7, state="running", params=None),  # reserved, its point not yet chosen
        ]
    )
    first, second = strategy.suggest(range(8, 10))
    seen = {"batch": 8, "cutoff": 7, "pending": [1, 2], "sampler": "gp"}
    for draw, suggestion in ((8, first), (9, second)):
        assert {"draw": draw, **seen}.items() <= suggestion.why.items()
        assert suggestion.why["expected_improvement"] > 0
    assert first.dedupe_key is None  # the space is continuous


def history(study: StudyDefinition) -> list[TrialRecord]:
    """Return forty trials of every kind, ordered by the seq of their last change, which is not that of their numbers."""
    points = [suggestion.params for suggestion in make(study, 5).suggest(range(40))]
    states = ["completed", "completed", "pruned", "diverged", "failed", "cancelled", "running", "completed"]
    trials = [
        record(number, seq=100 + (number * 7) % 40, state=states[number % 8], params=params, score=loss(params))
        for number, params in enumerate(points)
    ]
    scored = {"completed", "pruned"}
    trials = [trial if trial.state in scored else replace(trial, score=None) for trial in trials]
    return sorted(trials, key=lambda trial: trial.seq)


def test_what_it_suggests_does_not_depend_on_how_it_heard() -> None:
    study = definition(startup=0)
    trials = history(study)
    at_once = make(study, 1)
    at_once.update(trials)
    by_and_by = make(study, 1)
    for number, trial in enumerate(trials):
        by_and_by.update([replace(trial, state="running", score=None, params=None, seq=number)])
        by_and_by.update([replace(trial, state="running", score=None, seq=number)])
        by_and_by.suggest(range(number, number + 2))
        by_and_by.update([trial])
    assert by_and_by.suggest(range(60, 64)) == at_once.suggest(range(60, 64))


def test_nor_on_which_rungs_it_has_heard_of_before() -> None:
    study = definition(startup=0)
    curves = [{1: 5.0 + number, 3: 4.0 + number, 9: 3.0 + number} for number in range(40)]
    trials = [
        replace(trial, curve=curves[trial.number]) if trial.state in {"completed", "pruned", "running"} else trial
        for trial in history(study)
    ]
    at_once = make(study, 1)
    at_once.update(trials)
    by_and_by = make(study, 1)
    for step in (0, 1, 3):
        known = [{at: score for at, score in curve.items() if at <= step} for curve in curves]
        by_and_by.update([replace(trial, state="running", score=None, curve=known[trial.number]) for trial in trials])
        by_and_by.suggest(range(50, 52))
    by_and_by.update(trials)
    suggestions = by_and_by.suggest(range(60, 64))
    assert suggestions == at_once.suggest(range(60, 64))
    assert suggestions[0].why["reached"] == {str(number): 9 for number in range(6, 40, 8)}


def replay(study: StudyDefinition, seed: int, suggestion: Suggestion, ledger: list[TrialRecord]) -> Suggestion:
    """Derive a suggestion again from the trials as they ended and from its `why`."""
    why = suggestion.why
    finished = [trial for trial in ledger if trial.seq <= why["cutoff"] and trial.number not in why["pending"]]
    pending = [replace(trial, state="running", score=None, seq=0) for trial in ledger if trial.number in why["pending"]]
    strategy = make(study, seed)
    # The cut-off is a seq of the ledger, but the trial that had it may have moved on.
    strategy.update([*finished, *pending, record(10**6, seq=why["cutoff"], state="failed", params=None)])
    return strategy.suggest(range(why["batch"], why["draw"] + 1))[-1]


def test_every_suggestion_can_be_derived_again() -> None:
    study = definition(startup=2)
    strategy = make(study, 4)
    ledger: dict[int, TrialRecord] = {}
    suggestions: list[Suggestion] = []
    seq = 0
    for start in range(0, 24, 3):  # three are claimed together; each group ends while the next one runs
        batch = strategy.suggest(range(start, start + 3))
        suggestions += batch
        for number, suggestion in enumerate(batch, start=start):
            seq += 1
            ledger[number] = record(number, seq=seq, state="running", params=suggestion.params)
            strategy.update([ledger[number]])
        for number in reversed(range(max(0, start - 3), start)):
            seq += 1
            state = "diverged" if number % 5 == 0 else "completed"
            score = None if state == "diverged" else loss(ledger[number].params or {})
            ledger[number] = replace(ledger[number], seq=seq, state=state, score=score)
            strategy.update([ledger[number]])
    assert len({tuple(suggestion.why["pending"]) for suggestion in suggestions}) > 5
    for suggestion in suggestions:
        assert replay(study, 4, suggestion, list(ledger.values())) == suggestion


def test_points_under_way_keep_others_away() -> None:
    line = {"warmup": {"type": "float", "low": 0.0, "high": 0.9}}
    study = definition(line, startup=0)
    told = [
        record(number, seq=number, state="completed", params={"warmup": 0.09 * number}, score=abs(number - 5.0))
        for number in range(11)
    ]
    taken = [record(11 + i, seq=20 + i, state="running", params={"warmup": 0.43 + i / 500}) for i in range(20)]

    def distance(trials: list[TrialRecord]) -> float:
        distances = []
        for seed in range(12):
            strategy = make(study, seed)
            strategy.update(trials)
            distances.append(abs(strategy.suggest(range(50, 51))[0].params["warmup"] - 0.45))
        return float(statistics.median(distances))

    assert distance(told + taken) > 1.5 * distance(told)


def test_diverged_points_are_avoided() -> None:
    line = {"lr": {"type": "float", "low": 1e-3, "high": 1e3, "scale": "log"}}
    study = definition(line, startup=0)
    rates = [10 ** (-3 + 6 * index / 29) for index in range(30)]
    trials = [
        record(i, seq=i, state="diverged", params={"lr": rate})
        if rate > 1
        else record(i, seq=i, state="completed", params={"lr": rate}, score=1.0)
        for i, rate in enumerate(rates)
    ]
    strategy = make(study, 2)
    strategy.update(trials)
    stable = [suggestion.params["lr"] <= 1 for suggestion in strategy.suggest(range(40, 60))]
    assert sum(stable) >= 15


def test_failed_and_cancelled_trials_teach_nothing() -> None:
    study = definition(startup=0)
    trials = [trial for trial in history(study) if trial.state not in {"failed", "cancelled"}]
    without = make(study, 1)
    without.update(trials)
    with_them = make(study, 1)
    with_them.update(history(study))
    assert [s.params for s in with_them.suggest(range(9, 12))] == [s.params for s in without.suggest(range(9, 12))]


def test_pruned_trials_rank_behind_completed_ones() -> None:
    """A hundred pruned points with the best scores of all do not draw suggestions; completed ones do."""
    line = {"warmup": {"type": "float", "low": 0.0, "high": 0.9}}
    strategy = make(definition(line, startup=0), 1)
    strategy.update(
        [record(i, seq=i, state="pruned", params={"warmup": 0.1 + i / 2000}, score=-5.0) for i in range(100)]
        + [record(100 + i, seq=i, state="completed", params={"warmup": 0.8 + i / 500}, score=1.0) for i in range(12)]
    )
    assert statistics.median(s.params["warmup"] for s in strategy.suggest(range(20))) > 0.7


SMALL = {
    "optimizer": {"type": "categorical", "choices": ["sgd", "momentum"]},
    "batch_size": {"type": "int", "low": 16, "high": 48, "step": 16},
    "momentum": {"type": "float", "low": 0.8, "high": 0.9, "step": 0.05, "when": {"optimizer": ["momentum"]}},
}


def test_a_small_discrete_space_is_drawn_without_repeats() -> None:
    study = definition(SMALL, startup=3)
    strategy = make(study, 1)
    first = strategy.suggest(range(6))
    strategy.update([record(i, seq=i, state="running", params=s.params) for i, s in enumerate(first)])
    strategy.update([record(i, seq=10 + i, state="failed", params=s.params) for i, s in enumerate(first)])
    rest = strategy.suggest(range(6, 14))
    keys = [suggestion.dedupe_key for suggestion in [*first, *rest]]
    assert None not in keys[:12]
    assert len(set(keys[:12])) == 12
    assert keys[12:] == [None, None]  # nothing is left: points come again, and may
    assert [validate_point(study.space, suggestion.params) for suggestion in rest] == [[]] * 8


def test_a_retried_trial_takes_its_point_back() -> None:
    strategy = make(definition(SMALL, startup=0), 1)
    point = strategy.suggest(range(1))[0]
    for seq, state in enumerate(["running", "failed", "queued", "running", "completed"]):
        strategy.update([record(0, seq=seq, state=state, params=point.params, score=1.0)])
    assert strategy.suggest(range(1, 2))[0].dedupe_key != point.dedupe_key


ODD = {
    "optimizer": {"type": "categorical", "choices": ["momentum"]},
    "lr": {"type": "float", "low": 0.1, "high": 0.1, "scale": "log"},
    "batch_size": {"type": "int", "low": 1, "high": 4096, "scale": "log"},
    "momentum": {"type": "float", "low": 0.9, "high": 0.9, "when": {"optimizer": ["momentum"]}},
    "weight_decay": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1},
    "warmup": {"type": "float", "low": 0.0, "high": 0.999999, "scale": "reverse_log"},
}


@pytest.mark.parametrize("startup", [0, 5])
def test_odd_parameters_stay_in_their_domain(startup: int) -> None:
    study = definition(ODD, startup=startup)

    def score(params: Params) -> float:
        return float(params["weight_decay"] + params["warmup"] + 1 / params["batch_size"])

    _, records = optimize(study, seed=3, trials=40, score=score)
    assert [validate_point(study.space, trial.params or {}) for trial in records] == [[]] * 40


def test_points_from_outside_the_space_are_passed_over() -> None:
    strategy = make(definition(startup=0), 1)
    strategy.update(
        [
            record(0, seq=1, state="completed", params={"lr": 5.0}, score=1.0),
            record(1, seq=2, state="completed", params={"strange": 5.0}, score=1.0),
            record(2, seq=3, state="completed", params={"optimizer": "lion"}, score=1.0),
            record(3, seq=4, state="completed", params={"lr": 0.1}, score=None),
        ]
    )
    assert len(strategy.suggest(range(3))) == 3


def test_it_is_quiet(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        optimize(definition(startup=2), seed=1, trials=5)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_suggestions_keep_constraints_that_leave_little_room() -> None:
    names = [f"x{index}" for index in range(5)]
    raw = definition(
        {name: {"type": "float", "low": 0.0, "high": 1.0} for name in names} | {"lr": DIGITS["lr"]}, external=True
    )
    raw = raw.model_copy(
        update={"constraints": (Constraint(terms=dict.fromkeys(names, 1.0), at_least=0.2, at_most=0.25),)}
    )
    _, records = optimize(raw, seed=3, trials=40, score=lambda params: params["x0"] + abs(math.log10(params["lr"])))
    the_plan = plan_of(raw)
    assert [validate_point(the_plan, record.params or {}) for record in records] == [[]] * 40


def test_what_is_not_searched_tells_the_model_nothing() -> None:
    space = {
        "base": {"type": "float", "low": 0.01, "high": 1.0, "scale": "log"},
        "size": {"type": "categorical", "choices": [16, 64]},
        "lr": {"type": "derived", "of": "base", "by": "size", "rule": "sqrt", "reference": 16},
        "word": {"type": "fixed", "value": "x"},
    }
    study = definition(space, external=True)
    _, records = optimize(study, seed=1, trials=60, score=lambda params: abs(math.log10(params["lr"]) + 1.0))
    assert all((record.params or {})["word"] == "x" for record in records)
    near = [abs(math.log10((record.params or {})["lr"]) + 1.0) for record in records]
    assert statistics.mean(near[40:]) < statistics.mean(near[:10]) / 2


def test_a_process_is_not_asked_over_too_many_results() -> None:
    raw = copy.deepcopy(EXAMPLE_STUDIES["digits-mlp"])
    strategy = make(parse_study({**raw, "search": {"strategy": "bayesian", "model": "gp"}}), 1)
    points = make(definition(strategy="random"), 2).suggest(range(501))
    strategy.update(
        [record(i, seq=i, state="completed", params=p.params, score=loss(p.params)) for i, p in enumerate(points)]
    )
    assert (
        strategy.suggest(range(501, 502))[0].why["because"] == "501 results, more than 500, which are too many for gp"
    )


def test_what_the_model_tpe_never_says_cannot_stop_a_study() -> None:
    raw = copy.deepcopy(EXAMPLE_STUDIES["digits-mlp"]) | {"stopping": {"expected_improvement_below": 0.01}}
    assert parse_study(raw).stopping is not None
    with pytest.raises(InvalidStudy, match="bayesian with the model tpe"):
        parse_study({**raw, "search": {"strategy": "bayesian", "model": "tpe"}})


def test_a_completed_trial_without_values_is_bad_only_where_metrics_are_constrained() -> None:
    study = definition(startup=0)
    params = make(definition(strategy="random"), 2).suggest(range(1))[0].params
    empty = replace(record(0, seq=1, state="completed", params=params, score=None), violation=None)
    for constrained, count in ((False, 0), (True, 1)):
        evidence = Evidence(Columns(plan_of(study)), constrained=constrained)
        evidence.update([empty])
        assert len(evidence) == count
