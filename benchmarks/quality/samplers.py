"""Who searches: our strategies, and Optuna's samplers, behind one pair of verbs.

Optuna is asked as its users do, parameter by parameter, in the order of the space. What diverged is told to it as an
infinite value, which its samplers rank last; as a failed trial it would teach them nothing.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import optuna
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import Trial

from benchmarks.quality.functions import Params
from benchmarks.quality.problems import Problem
from benchmarks.records import record
from search.definition.parse import parse_study
from search.strategies.table import make


class Sampler(Protocol):
    """Says which point trial `number` tries, and hears what came out; infinity: it diverged."""

    def ask(self, number: int) -> Params: ...

    def tell(self, number: int, value: float) -> None: ...


class Ours:
    """A strategy fed with records as the ledger would give them."""

    def __init__(self, problem: Problem, strategy: str, *, seed: int, budget: int) -> None:
        definition = parse_study(
            {
                "name": problem.name,
                "objective": dict(problem.objective),
                "metrics": [{"name": "val_loss", "goal": "minimize"}],
                "space": {name: dict(parameter) for name, parameter in problem.space.items()},
                "search": {"strategy": strategy},
                "budget": {"trials": budget},
            }
        )
        self._strategy = make(definition, seed)
        self._seq = 0
        self._points: dict[int, Params] = {}

    def ask(self, number: int) -> Params:
        """Suggest one point, and note it as under way."""
        params = self._points[number] = self._strategy.suggest(range(number, number + 1))[0].params
        self._note(number, "running", None)
        return params

    def tell(self, number: int, value: float) -> None:
        """Note the end of a trial."""
        finite = math.isfinite(value)
        self._note(number, "completed" if finite else "diverged", value if finite else None)

    def _note(self, number: int, state: str, score: float | None) -> None:
        self._seq += 1
        self._strategy.update([record(number, seq=self._seq, state=state, params=self._points[number], score=score)])


class Theirs:
    """One of Optuna's samplers over a study in memory."""

    def __init__(self, problem: Problem, sampler: BaseSampler) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = problem.space
        self._study = optuna.create_study(sampler=sampler)
        self._trials: dict[int, Trial] = {}

    def ask(self, number: int) -> Params:
        """Ask for each parameter whose condition holds."""
        trial = self._trials[number] = self._study.ask()
        params: dict[str, Any] = {}
        for name, parameter in self._space.items():
            conditions: Mapping[str, Any] = parameter.get("when") or {}
            if all(params.get(parent) in values for parent, values in conditions.items()):
                params[name] = suggested(trial, name, parameter)
        return params

    def tell(self, number: int, value: float) -> None:
        """Tell the value."""
        self._study.tell(self._trials.pop(number), value)


def suggested(trial: Trial, name: str, parameter: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as the parameter is
    """Ask Optuna for a value; momentum, which crowds below 1, as 1 - x on a log scale."""
    if parameter["type"] == "categorical":
        return trial.suggest_categorical(name, parameter["choices"])
    low, high, scale = parameter["low"], parameter["high"], parameter.get("scale", "linear")
    if parameter["type"] == "int":
        return trial.suggest_int(name, low, high, log=scale == "log")
    if scale == "reverse_log":
        return 1 - trial.suggest_float(name, 1 - high, 1 - low, log=True)
    return trial.suggest_float(name, low, high, log=scale == "log")


SAMPLERS: Mapping[str, Callable[[Problem, int, int], Sampler]] = {
    "tuneup": lambda problem, seed, budget: Ours(problem, "bayesian", seed=seed, budget=budget),
    "Optuna TPE": lambda problem, seed, _: Theirs(problem, TPESampler(seed=seed)),
    "Optuna GP": lambda problem, seed, _: Theirs(problem, GPSampler(seed=seed)),
    "random": lambda problem, seed, _: Theirs(problem, RandomSampler(seed=seed)),
}
