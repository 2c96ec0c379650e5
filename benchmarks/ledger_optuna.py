"""The peer's side of `benchmarks.ledger`: the same trials through Optuna's RDBStorage."""

import warnings
from dataclasses import dataclass

import optuna

from benchmarks.hands import Hands, Share, Work

NAME = f"Optuna {optuna.__version__} RDBStorage"
WARM_TRIALS = 3


@dataclass(frozen=True, slots=True)
class Done:
    """What one process did: errors that ended `Study.optimize` (locks, as the storage raises them), and the last one."""

    errors: int
    last: str


def setup(url: str) -> None:
    """Make the tables in an empty database."""
    _quiet()
    optuna.storages.RDBStorage(url)


def run(hands: Hands, url: str, *, workers: int, trials: int, reports: int) -> list[Share]:
    """Run a study of `trials` trials, shared out evenly, each reporting `reports` times."""
    _quiet()
    study = optuna.create_study(storage=optuna.storages.RDBStorage(url))
    hands.ready(workers, prepare, url, study.study_name, workers, trials, reports)
    return hands.go(workers)


def prepare(place: int, url: str, study_name: str, workers: int, trials: int, reports: int) -> Work:
    """Connect, and warm up on a study of this process's own in the same storage; return what is to be timed."""
    _quiet()
    storage = optuna.storages.RDBStorage(url)
    sampler, pruner = optuna.samplers.RandomSampler(seed=1000 + place), optuna.pruners.MedianPruner()
    _optimize(optuna.create_study(storage=storage, sampler=sampler, pruner=pruner), WARM_TRIALS, reports)
    study = optuna.load_study(study_name=study_name, storage=storage, sampler=sampler, pruner=pruner)
    share = trials // workers + (place < trials % workers)
    return lambda: _optimize(study, share, reports)


def _optimize(study: optuna.Study, trials: int, reports: int) -> Done:
    """Finish `trials` trials. A trial that ends in an error of the storage is counted as one, and another one is run."""
    done: list[int] = []
    errors, last = 0, ""
    while len(done) < trials:
        try:
            study.optimize(
                lambda trial: _objective(trial, reports),
                n_trials=trials - len(done),
                callbacks=[lambda _, trial: done.append(trial.number)],
            )
        except Exception as error:  # noqa: BLE001  whatever the storage raises is what is counted
            errors, last = errors + 1, f"{type(error).__name__}: {error}"[:200]
    return Done(errors, last)


def _objective(trial: optuna.Trial, reports: int) -> float:
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    trial.suggest_float("warmup", 0.0, 0.5)
    momentum = trial.suggest_float("momentum", 0.0, 0.99)
    trial.suggest_categorical("batch_size", [16, 32, 64, 128])
    trial.suggest_categorical("optimizer", ["momentum", "nesterov", "rmsprop"])
    value = (momentum - 0.9) ** 2 + lr
    for step in range(1, reports + 1):
        trial.report(value + 1 / step, step)
        trial.should_prune()  # asked and not obeyed: every trial makes all its reports
    return float(value)


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
