"""How long a study of 10,000 trials takes to analyse, on SQLite: `python -m benchmarks.analysis --json`.

Five parameters, one of them conditional, and ten measurements a trial, six of ten trials pruned. Each question is asked
through the function that its route calls, reading the database included; the median of several, after one that loads what
it needs.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.promises import Promise, line, show, table
from benchmarks.servers import sqlite_file
from migrations.upgrade import upgrade
from models.ids import show_study
from models.session import Database
from models.states import TrialState
from models.studies import DEFAULT_PROJECT, ensure_project
from search.analysis.table import METHODS, method
from search.clock import utc_now
from search.studies import analysis, views
from search.studies.service import create_study
from search.trials.dispatch import Claim, Dispatcher, Report, Result

SIZES = {"quick": (10_000, 3), "standard": (10_000, 11), "full": (100_000, 11)}  # trials, rounds
CAPACITY = 500
STEPS = 10
TARGET_MS = 1000.0


def filled(database: Database, project: int, trials: int) -> str:
    """Store a study whose trials have all finished, by the ways that workers take; return its id."""
    definition = {
        "name": "analysis",
        "objective": {"external": True, "steps": STEPS},
        "metrics": [{"name": "val_loss", "goal": "minimize"}],
        "space": {
            "lr": {"type": "float", "low": 1e-5, "high": 1.0, "scale": "log"},
            "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "adam"]},
            "momentum": {
                "type": "float",
                "low": 0.5,
                "high": 0.999,
                "scale": "reverse_log",
                "when": {"optimizer": ["momentum"]},
            },
            "warmup": {"type": "float", "low": 0.0, "high": 0.5},
            "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
        },
        "search": {"strategy": "random", "seed": 1},
        "budget": {"trials": trials},
    }
    made = database.write(lambda connection: create_study(connection, project, definition, now=utc_now()))
    dispatcher = Dispatcher(database, worker="benchmark")
    while claims := dispatcher.claim(queue="external", capacity=CAPACITY):
        dispatcher.report([_report(claim, step) for claim in claims for step in range(1, _length(claim) + 1)])
        dispatcher.finish([_result(claim) for claim in claims])
    return show_study(made.view.record.id)


def _length(claim: Claim) -> int:
    return STEPS if claim.number % 10 < 4 else 1 + claim.number % 5


def _loss(claim: Claim) -> float:
    params: Mapping[str, Any] = claim.params
    return float(abs(params["lr"] - 0.01) + 0.1 * params["warmup"] + (1 - params.get("momentum", 0.5)))


def _report(claim: Claim, step: int) -> Report:
    return Report(claim, step, {"val_loss": _loss(claim) + 1 / step})


def _result(claim: Claim) -> Result:
    state = TrialState.COMPLETED if _length(claim) == STEPS else TrialState.PRUNED
    return Result(claim, state, values={"val_loss": _loss(claim)})


def questions(database: Database, project: int, study: str) -> dict[str, Callable[[], object]]:
    """Return what is asked of a study, by name."""

    def importance(name: str) -> object:
        seen = database.read(lambda c: analysis.evidence(c, project, study, metric=None))
        return method(name)(seen.space, seen.observations, seed=seen.seed)

    return {
        **{f"importance, {name}": partial(importance, name) for name in METHODS},
        "best": lambda: database.read(lambda c: views.best_trial(c, project, study)),
        "history": lambda: database.read(lambda c: analysis.history(c, project, study, metric=None, points=1000)),
        "savings": lambda: database.read(lambda c: analysis.study_savings(c, project, study)),
    }


def milliseconds(ask: Callable[[], object], rounds: int) -> tuple[float, list[float], list[float]]:
    """Return how long the first took, and of `rounds` more the times by the clock and of the processor, each sorted."""
    taken, worked = [], []
    for _ in range(rounds + 1):
        began, at_work = time.perf_counter(), time.process_time()
        ask()
        taken.append(1000 * (time.perf_counter() - began))
        worked.append(1000 * (time.process_time() - at_work))
    return taken[0], sorted(taken[1:]), sorted(worked[1:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.analysis", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", action="store_true", help="end with a line for programs")
    given = parser.parse_args(arguments)
    trials, rounds = SIZES["quick" if given.quick else "full" if given.full else "standard"]
    with sqlite_file() as url:
        upgrade(url)
        database = Database(url)
        project = database.write(lambda connection: ensure_project(connection, DEFAULT_PROJECT, utc_now()))
        study = filled(database, project, trials)
        taken = {name: milliseconds(ask, rounds) for name, ask in questions(database, project, study).items()}
        database.dispose()
    rows = [
        (name, first, statistics.median(times), times[-1], statistics.median(worked))
        for name, (first, times, worked) in taken.items()
    ]
    print(table((f"of {trials} trials", "first ms", "median ms", "worst ms", "of the CPU"), rows))
    promises = [Promise(f"{row[0]}, median ms", row[2], TARGET_MS, at_most=True) for row in rows]
    print(show(promises))
    if given.json:
        print(line("analysis", promises, trials=trials))
    return 0


if __name__ == "__main__":
    sys.exit(main())
