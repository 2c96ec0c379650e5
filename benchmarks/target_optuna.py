"""The peer's side of `benchmarks.time_to_target`: Optuna over a SQLite file, one process per core, plain PyTorch."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
import torch

from benchmarks.hands import Hands, Work
from benchmarks.optuna_torch import joined, objective, storage
from benchmarks.target_trials import EPOCHS, HIDDEN, METRIC, MIN_STEPS, MOST_TRIALS, REDUCTION, SPACE, TARGET

# Points tried at once learn of each other, as Optuna advises for parallel runs.
SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "TPE": lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


def run(hands: Hands, *, sampler: str, seed: int, processes: int, seconds: float, way: str) -> float | None:
    """Return the seconds until the storage held a completed trial that reaches the target, None if not in `seconds`.

    The clock starts when processes that have imported everything, connected and trained once are let go.
    """
    _quiet()
    with TemporaryDirectory(prefix="tuneup-bench-") as name:
        url, reached = f"sqlite:///{name}/optuna.db", Path(name) / "reached"
        study = optuna.create_study(storage=storage(url), direction="maximize")
        hands.ready(processes, prepare, url, study.study_name, sampler, seed, seconds, way, str(reached))
        shares = hands.go(processes)
    began = min(share.began for share in shares)
    moments = [share.said for share in shares if share.said is not None]
    return min(moments) - began if moments else None


def prepare(
    place: int, url: str, study_name: str, sampler: str, seed: int, seconds: float, way: str, reached: str
) -> Work:
    """Connect and warm up; the work returns when this process itself reached the target, None if it did not."""
    _quiet()
    torch.set_num_threads(1)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=MIN_STEPS, reduction_factor=REDUCTION)
    study = joined(url, study_name, SAMPLERS[sampler](1000 * seed + place), pruner)
    trained = objective(SPACE, hidden=HIDDEN, epochs=EPOCHS, metric=METRIC, way=way, prune=True, seed=seed)
    optuna.create_study(direction="maximize").optimize(trained, n_trials=1)
    flag, moments = Path(reached), list[float]()

    def look(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Called once a trial is stored."""
        if trial.state == optuna.trial.TrialState.COMPLETE and trial.value is not None and trial.value >= TARGET:
            moments.append(time.monotonic())
            flag.touch()
        if flag.exists():
            study.stop()

    def work() -> float | None:
        study.optimize(trained, n_trials=MOST_TRIALS, timeout=seconds, callbacks=[look])
        return moments[0] if moments else None

    return work


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
