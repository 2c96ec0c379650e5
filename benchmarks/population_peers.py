"""The peers of `benchmarks.population`: (a) plain PyTorch, (b) the same training through Optuna, (c) through Ray Tune.

`plain` and `through_optuna` are each a `Prepare` of `benchmarks.hands`: they warm up one process and return its work, which
says how many trials it trained.
"""

import os
import sqlite3
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import optuna
import torch

from benchmarks.hands import Hands, Share, Work
from benchmarks.optuna_torch import NAME, joined, objective, storage
from benchmarks.plain_torch import Run, Values, train
from benchmarks.population_trials import SPACE
from benchmarks.promises import table
from benchmarks.servers import Fresh, postgres_server, sqlite_file
from tests.support.postgres import fresh_database
from tests.support.sources import ROOT

# A Python that has Ray, where this one has none: the program, or the folder of its virtual environment.
RAY_VARIABLE = "TUNEUP_BENCH_RAY"
RAY_SECONDS = 600.0
CORES = os.cpu_count() or 1

# Trains so many trials of one width; returns the seconds.
Post: TypeAlias = Callable[[int, int], float]


@dataclass(frozen=True, slots=True)
class Other:
    """Trials a second of another peer at a width; None where it is missing, with what is missing."""

    name: str
    width: int
    rate: float | None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """What the other peers run: about `trials` a width, at the way of torch.optim that is the faster one there."""

    trials: Mapping[int, int]
    ways: Mapping[int, str]
    epochs: int
    ray_trials: int
    full: bool


def plain(place: int, runs: Sequence[Run], processes: int, way: str, device: str) -> Work:
    """(a) Plain PyTorch, the results kept in a list."""
    torch.set_num_threads(1)
    share = runs[place::processes]
    kept: list[tuple[int, Values]] = []

    def keep(step: int, values: Values) -> bool:
        kept.append((step, values))
        return False

    def work(some: Sequence[Run]) -> int:
        return [train(run, keep, way=way, device=torch.device(device)) for run in some].count("completed")

    work(share[:1])
    return lambda: work(share)


def through_optuna(place: int, url: str, study_name: str, width: int, epochs: int, trials: int, way: str) -> Work:
    """(b) The same training as the objective of an Optuna study in RDBStorage: random search, every epoch reported."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", module="optuna")
    study = joined(url, study_name, optuna.samplers.RandomSampler(seed=place), optuna.pruners.NopPruner())
    trained = objective(SPACE, hidden=[width], epochs=epochs, metric="val_loss", way=way, prune=False)
    optuna.create_study().optimize(trained, n_trials=1)

    def work() -> int:
        study.optimize(trained, n_trials=trials)
        return trials

    return work


def others(hands: Hands, task: Task) -> Iterator[Other]:
    """Measure Optuna at each width and Ray at the first one, or name what is missing."""
    for storage_name, fresh in _storages(full=task.full).items():
        for width, trials in task.trials.items():
            yield Other(f"{NAME}, {storage_name}", width, _optuna_rate(hands, fresh, task, width, trials))
    yield _ray(next(iter(task.trials)), task)


def rate(shares: Sequence[Share]) -> float:
    """Return the trials a second of processes together, each by its own time: who ends first waits for no one."""
    return sum(float(share.said) / (share.ended - share.began) for share in shares)


def show_others(others: Sequence[Other]) -> str:
    """Write the table."""
    rows = [(other.name, other.width, other.rate, other.missing or "") for other in others]
    return table(("peer", "width", "trials/s", "missing"), rows)


def _storages(*, full: bool) -> dict[str, Fresh]:
    made: dict[str, Fresh] = {"SQLite": sqlite_file}
    if full:
        made |= {"SQLite in WAL mode": _wal_file, "PostgreSQL": _postgres}
    return made


@contextmanager
def _wal_file() -> Iterator[str]:
    with sqlite_file() as url:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        yield url


@contextmanager
def _postgres() -> Iterator[str]:
    with postgres_server() as server, fresh_database(server) as url:
        yield url


def _optuna_rate(hands: Hands, fresh: Fresh, task: Task, width: int, trials: int) -> float:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with fresh() as url:
        study = optuna.create_study(storage=storage(url))
        each = max(1, trials // CORES)
        hands.ready(CORES, through_optuna, url, study.study_name, width, task.epochs, each, task.ways[width])
        return rate(hands.go(CORES))


def _ray(width: int, task: Task) -> Other:
    named = partial(Other, "Ray Tune", width)
    python = ray_python()
    if python is None:
        return named(None, f"ray is not installed here, and {RAY_VARIABLE} names no Python that has it")
    # Ray's Python needs nothing but Ray: torch and the rest are those of this one.
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    command = [python, "-m", "benchmarks.population_ray", str(width), str(task.ray_trials), str(task.epochs)]
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=RAY_SECONDS, check=True
        )
        return named(float(ran.stdout.split()[-1]))
    except subprocess.CalledProcessError as error:
        return named(None, f"it failed: {error.stderr.strip().splitlines()[-1] if error.stderr.strip() else error}")
    except (subprocess.TimeoutExpired, OSError, ValueError, IndexError) as error:
        return named(None, f"it failed: {error}")


def ray_python() -> str | None:
    """Return the Python to run Ray with, None if there is none."""
    given = os.environ.get(RAY_VARIABLE)
    if given:
        path = Path(given)
        return str(path / "bin" / "python" if path.is_dir() else path)
    return sys.executable if find_spec("ray") is not None else None
