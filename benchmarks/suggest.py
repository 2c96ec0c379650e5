"""How long a suggestion takes, by how many trials have finished: `python -m benchmarks.suggest --json`.

The space of the digits example: a rate, a warm-up, a momentum under a condition, batch sizes and optimizers. Histories are
the same for all: random points with a score that depends on them. Ours is a bayesian study as shipped, its strategy
fed with records as a worker's is; Optuna's TPE sampler runs over its own storage in memory, and Rustuna, its engine in
Rust, beside it where `pip install rustuna` put one. Measured is asking for one point after one more trial has ended, and
for ours a call for sixty-four at once beside sixty-four calls.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import TPESampler

from benchmarks.promises import Promise, line, show, table
from benchmarks.quality.functions import Params
from benchmarks.quality.samplers import suggested
from benchmarks.records import record
from search.definition.parse import EXAMPLE_STUDIES, parse_study
from search.records import TrialRecord
from search.space.plan import draw, plan
from search.space.sampling import Draws
from search.strategies.table import make

SIZES = (100, 1_000, 10_000, 50_000)
ASKS: Mapping[int, int] = {100: 20, 1_000: 20, 10_000: 15, 50_000: 5}
BATCH = 64
MOST_MILLISECONDS = 8.0
SPACE: Mapping[str, Any] = EXAMPLE_STUDIES["digits-mlp"]["space"]
Ask = Callable[[], object]


def history(size: int) -> list[tuple[Params, float]]:
    """Return random points and scores: how far a rate is from the best one, and luck."""
    drawn = plan(parse_study({**EXAMPLE_STUDIES["digits-mlp"], "search": {"strategy": "random"}}).space)
    points = [draw(drawn, Draws(7, index)) for index in range(size)]
    luck = np.random.default_rng(7).standard_normal(size)
    return [
        (point, abs(math.log10(float(point["lr"])) + 2) + 0.3 * float(noise))  # type: ignore[arg-type]
        for point, noise in zip(points, luck, strict=True)
    ]


def ours(size: int, *, batch: int = 1) -> Ask:
    """Return a call that ends one more trial and suggests `batch` points."""
    raw = {**EXAMPLE_STUDIES["digits-mlp"], "search": {"strategy": "bayesian"}, "budget": {"trials": 100_000}}
    strategy = make(parse_study(raw), 1)
    known = history(size + 1000)
    strategy.update([_record(number, *known[number]) for number in range(size)])
    numbers = count(size)

    def ask() -> object:
        number = next(numbers)
        strategy.update([_record(number, *known[number])])
        return strategy.suggest(range(number + 1, number + 1 + batch))

    return ask


def _record(number: int, params: Params, score: float) -> TrialRecord:
    return record(number, seq=number + 1, state="completed", params=params, score=score)


def optuna_tpe(size: int) -> Ask:
    """Return a call that asks Optuna for a trial, parameter by parameter, and ends it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=TPESampler(seed=1))
    study.add_trials([_theirs(params, score) for params, score in history(size)])
    return _asking(study)


def _asking(study: Any) -> Ask:  # noqa: ANN401 - Optuna's, or what speaks like it
    def ask() -> object:
        trial = study.ask()
        params: dict[str, Any] = {}
        for name, parameter in SPACE.items():
            if all(params.get(parent) in values for parent, values in (parameter.get("when") or {}).items()):
                params[name] = suggested(trial, name, parameter)
        study.tell(trial.number, 1.0)
        return params

    return ask


def _distribution(parameter: Mapping[str, Any]) -> BaseDistribution:
    if parameter["type"] == "categorical":
        return CategoricalDistribution(parameter["choices"])
    low, high, scale = parameter["low"], parameter["high"], parameter.get("scale")
    if scale == "reverse_log":
        return FloatDistribution(1 - high, 1 - low, log=True)
    return FloatDistribution(low, high, log=scale == "log")


def _coded(params: Params) -> dict[str, Any]:
    """Return a point as Optuna is asked for it: momentum as 1 - x."""
    turned = {name for name, parameter in SPACE.items() if parameter.get("scale") == "reverse_log"}
    return {name: 1 - value if name in turned else value for name, value in params.items()}


def _theirs(params: Params, score: float) -> optuna.trial.FrozenTrial:
    distributions = {name: _distribution(SPACE[name]) for name in params}
    return optuna.trial.create_trial(value=score, params=_coded(params), distributions=distributions)


def rustuna_tpe(size: int) -> Ask:
    """Return the same call of Rustuna, which speaks as Optuna does."""
    rustuna = import_module("rustuna")
    study = rustuna.create_study(sampler=rustuna.samplers.TPESampler(seed=1))
    for params, score in history(size):
        distributions = {name: _rustunas(_distribution(SPACE[name])) for name in params}
        study.add_trial(rustuna.create_trial(value=score, params=_coded(params), distributions=distributions))
    return _asking(study)


def _rustunas(distribution: BaseDistribution) -> object:
    distributions = import_module("rustuna").distributions
    if isinstance(distribution, CategoricalDistribution):
        return distributions.CategoricalDistribution(list(distribution.choices))
    assert isinstance(distribution, FloatDistribution)
    return distributions.FloatDistribution(distribution.low, distribution.high, log=distribution.log)


PEERS: Mapping[str, Callable[[int], Ask]] = {"Optuna TPE": optuna_tpe}


def milliseconds(ask: Ask, times: int) -> float:
    """Return the median time of a call; the first one, which loads things, is not counted."""
    ask()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - begun))
    return statistics.median(taken)


def measure(sizes: Sequence[int], peers: Mapping[str, Callable[[int], Ask]]) -> dict[str, dict[int, float]]:
    """Return milliseconds per suggestion by who makes it and how many trials have finished."""
    found: dict[str, dict[int, float]] = {name: {} for name in ("tuneup", f"tuneup, {BATCH} at once", *peers)}
    for size in sizes:
        found["tuneup"][size] = milliseconds(ours(size), ASKS[size])
        found[f"tuneup, {BATCH} at once"][size] = milliseconds(ours(size, batch=BATCH), ASKS[size]) / BATCH
        for name, make_ask in peers.items():
            found[name][size] = milliseconds(make_ask(size), ASKS[size])
    return found


def promises(found: Mapping[str, Mapping[int, float]]) -> list[Promise]:
    """Compare with what is promised; sizes that were not measured are passed over."""
    single, batched, peer = found["tuneup"], found[f"tuneup, {BATCH} at once"], found["Optuna TPE"]
    made = []
    if 10_000 in single:
        made += [
            Promise("ms per suggestion at 10,000", single[10_000], MOST_MILLISECONDS, at_most=True),
            Promise("times as fast as Optuna TPE at 10,000", peer[10_000] / single[10_000], 10.0),
        ]
    made += [
        Promise(f"single asks cost times a batch of {BATCH} per point, at {size:,}", single[size] / batched[size], 10.0)
        for size in single
    ]
    return made


def main() -> None:
    """Measure, print a table, and the line for programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="no more than 1,000 trials")
    parser.add_argument("--json", action="store_true", help="end with one line for programs")
    given = parser.parse_args()
    sizes = SIZES[:2] if given.quick else SIZES
    peers = {**PEERS, **({"Rustuna TPE": rustuna_tpe} if find_spec("rustuna") else {})}
    found = measure(sizes, peers)
    rows = [[name, *(f"{each.get(size, math.nan):.2f}" for size in sizes)] for name, each in found.items()]
    print(table(["ms per suggestion", *(f"{size:,}" for size in sizes)], rows))
    print("" if "Rustuna TPE" in found else "Rustuna is not installed here: not measured")
    single = found["tuneup"]
    print(f"growth from {sizes[0]:,} to {sizes[-1]:,} trials: {single[sizes[-1]] / single[sizes[0]]:.1f} times")
    made = promises(found)
    print(show(made))
    if given.json:
        print(line("suggest", made))


if __name__ == "__main__":
    main()
