"""A study of ours as a user of Optuna writes it: the space as `suggest` calls, the training in plain PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna

from benchmarks.plain_torch import Run, Values, train

NAME = f"Optuna {optuna.__version__}"
# More than a study has trials.
SEEDS = 1_000_000
# A SQLite file may be locked for longer than the 5 s after which a connection gives up by default.
CONNECT = {"connect_args": {"timeout": 60}}


def storage(url: str) -> optuna.storages.RDBStorage:
    """Connect to a database; its tables are made if they are not there."""
    return optuna.storages.RDBStorage(url, engine_kwargs=CONNECT if url.startswith("sqlite") else {})


def joined(
    url: str, study_name: str, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner
) -> optuna.Study:
    """Return a study that is there already, as another process sees it."""
    return optuna.load_study(study_name=study_name, storage=storage(url), sampler=sampler, pruner=pruner)


def objective(
    space: Mapping[str, Any], *, hidden: Sequence[int], epochs: int, metric: str, way: str, prune: bool, seed: int = 0
) -> Callable[[optuna.trial.BaseTrial], float]:
    """Return what an Optuna study optimizes: a training that reports `metric` each epoch and heeds the pruner.

    Initial parameters and data order follow `seed` and the trial's number.
    """

    def run(trial: optuna.trial.BaseTrial) -> float:
        last = float("nan")

        def report(step: int, values: Values) -> bool:
            nonlocal last
            last = values[metric]
            trial.report(last, step)
            return prune and trial.should_prune()

        ended = train(Run(hidden, epochs, suggest(trial, space), seed=SEEDS * seed + trial.number), report, way=way)
        if ended != "completed":
            raise optuna.TrialPruned(ended)
        return last

    return run


def suggest(trial: optuna.trial.BaseTrial, space: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for the parameters whose conditions hold."""
    params: dict[str, Any] = {}
    for name, parameter in space.items():
        if all(params.get(parent) in values for parent, values in parameter.get("when", {}).items()):
            params[name] = _suggest(trial, name, parameter)
    return params


def _suggest(trial: optuna.trial.BaseTrial, name: str, parameter: Mapping[str, Any]) -> Any:  # noqa: ANN401 - of any type
    if parameter["type"] == "categorical":
        return trial.suggest_categorical(name, parameter["choices"])
    low, high, scale = parameter["low"], parameter["high"], parameter.get("scale", "linear")
    if scale == "reverse_log":  # Optuna has no such scale, and its users search the distance to 1
        return 1 - trial.suggest_float(f"1 - {name}", 1 - high, 1 - low, log=True)
    return trial.suggest_float(name, low, high, log=scale == "log")
