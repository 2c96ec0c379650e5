"""The benchmark of search quality: its functions have their minima, its races their rules, its verdicts their arithmetic."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.quality.functions import FUNCTIONS
from benchmarks.quality.problems import ONE_RUN, problem, tables
from benchmarks.quality.race import Entry, run
from benchmarks.quality.verdicts import behind, medians, ranks


def point(*values: float) -> dict[str, float]:
    return {f"x{index}": value for index, value in enumerate(values)}


MINIMA: Mapping[str, Mapping[str, Any]] = {
    "branin": point(math.pi, 2.275),
    "hartmann3": point(0.114614, 0.555649, 0.852547),
    "hartmann6": point(0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573),
    "ackley5": point(*[3.1] * 5),
    "rosenbrock4": point(*[1.0] * 4),
    "levy4": point(*[1.0] * 4),
    "mixed": {"shape": "wide", "rate": 10**-2.4, "share": 0.4, "depth": 7},
    "conditional": {"kind": "deep", "rate": 1e-3, "layers": 4, "dropout": 0.3},
}


@pytest.mark.parametrize("name", MINIMA)
def test_a_function_is_zero_at_its_minimum_and_nowhere_less(name: str) -> None:
    function = FUNCTIONS[name]
    lowest = function.value(MINIMA[name])
    assert lowest == pytest.approx(0.0, abs=2e-5)
    searched = run(Entry(name, "random", 1, 1), looks=(50,))
    assert searched[-1] > lowest - 2e-5


def test_noise_is_seen_but_not_in_the_regret() -> None:
    noisy = problem("noisy branin")
    seen = [noisy.observe(MINIMA["branin"], 1, number) for number in range(200)]
    assert noisy.regret(MINIMA["branin"]) < 1e-4
    assert 1.5 < math.sqrt(sum(value * value for value in seen) / 200) < 2.5


def test_tables_are_searched_by_their_means_and_by_single_runs() -> None:
    plain, single = (name for name in tables() if name.startswith("wine"))
    assert single == f"{plain}{ONE_RUN}"
    by_mean = problem(plain)
    some = {"optimizer": "adam", "lr": 0.01, "warmup": 0.0, "batch_size": 32}
    assert by_mean.observe(some, 1, 1) == by_mean.observe(some, 2, 9)
    assert len({problem(single).observe(some, 1, number) for number in range(40)}) > 1
    assert "levels" not in by_mean.space["lr"]


@pytest.mark.parametrize("sampler", ["tuneup", "Optuna TPE", "random"])
@pytest.mark.parametrize("parallel", [1, 8])
def test_a_race_can_be_run_again(sampler: str, parallel: int) -> None:
    entry = Entry("conditional", sampler, 3, parallel)
    first = run(entry, looks=(12, 24))
    assert first == run(entry, looks=(12, 24))
    assert first[0] >= first[1] >= 0


def test_ranks_and_medians() -> None:
    regrets = {
        Entry("a", sampler, seed, 1): [value, value, value + seed]
        for sampler, value in (("tuneup", 1.0), ("Optuna TPE", 2.0))
        for seed in range(3)
    }
    assert medians(regrets)["a", 1, "tuneup"] == [1.0, 1.0, 2.0]
    assert ranks(regrets, ["a"]) == {"tuneup": 1.0, "Optuna TPE": 2.0}
    assert ranks(regrets, ["b"]) == {}


def test_who_is_behind_is_told_from_luck() -> None:
    def raced(factor: float) -> dict[Entry, list[float]]:
        return {
            Entry(name, sampler, seed, 1): [0.0, 0.0, (seed + 1) * (factor if sampler == "tuneup" else 1.0)]
            for name in ("a", "b")
            for sampler in ("tuneup", "Optuna GP")
            for seed in range(10)
        }

    worse, better = (behind(raced(factor), ["a", "b"], "tuneup", "Optuna GP") for factor in (3.0, 0.3))
    assert worse is not None
    assert better is not None
    assert worse < 0.001
    assert better > 0.99
    assert behind(raced(1.0), ["a", "b"], "tuneup", "Optuna GP") is None
