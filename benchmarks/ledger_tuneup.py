"""Our side of `benchmarks.ledger`: trials that do nothing, claimed, reported and finished through the dispatcher."""

from collections.abc import Sequence
from typing import Any

from benchmarks.hands import Hands, Share, Work
from migrations.upgrade import upgrade
from models.ids import show_study
from models.session import Database
from models.states import TrialState
from models.studies import DEFAULT_PROJECT, ensure_project
from models.trials import list_measurements, scores
from search.clock import utc_now
from search.studies.service import create_study
from search.studies.views import get_study_row
from search.trials.dispatch import Claim, Dispatcher, Report, Result

WARM_ROUNDS = 3


def setup(url: str) -> None:
    """Make the tables in an empty database."""
    upgrade(url)


def run(hands: Hands, url: str, *, workers: int, trials: int, reports: int, capacity: int) -> list[Share]:
    """Run a study of `trials` trials, each reporting `reports` times, to its end, and check that it was kept exactly."""
    database = Database(url)
    project = database.write(lambda connection: ensure_project(connection, DEFAULT_PROJECT, utc_now()))
    _create(database, project, trials=workers * capacity * WARM_ROUNDS, reports=reports)
    hands.ready(workers, prepare, url, capacity, reports)
    study = _create(database, project, trials=trials, reports=reports)
    shares = hands.go(workers)
    claimed = [number for share in shares for number in share.said]
    _check(database, project, study, claimed=claimed, trials=trials, reports=reports)
    database.dispose()
    return shares


def prepare(place: int, url: str, capacity: int, reports: int) -> Work:
    """Connect, and take this process's part of the study to warm up on; return what is to be timed."""
    database = Database(url)
    dispatcher = Dispatcher(database, worker=f"worker-{place}")
    for _ in range(WARM_ROUNDS):
        _round(dispatcher, capacity, reports)

    def work() -> list[int]:
        numbers: list[int] = []
        while claimed := _round(dispatcher, capacity, reports):
            numbers += claimed
        database.dispose()
        return numbers

    return work


def _round(dispatcher: Dispatcher, capacity: int, reports: int) -> list[int]:
    """Claim, report step by step, finish; return the numbers of the trials done, none when the study is spent.

    Each step's verdicts are read before the next step, and not obeyed: every trial makes all its reports.
    """
    claims = dispatcher.claim(queue="cpu", capacity=capacity)
    if not claims:
        return []
    values = [_value(claim.params) for claim in claims]
    for step in range(1, reports + 1):
        verdicts = dispatcher.report(
            [Report(claim, step, {"val_loss": value + 1 / step}) for claim, value in zip(claims, values, strict=True)]
        )
        assert all(verdict.accepted for verdict in verdicts)
    finished = dispatcher.finish([_result(claim, value) for claim, value in zip(claims, values, strict=True)])
    assert set(finished.values()) == {"accepted"}
    return [claim.number for claim in claims]


def _result(claim: Claim, value: float) -> Result:
    return Result(claim, TrialState.COMPLETED, values={"val_loss": value})


def _value(params: Any) -> float:  # noqa: ANN401  whatever a trial's parameters are
    return float((params["momentum"] - 0.9) ** 2 + params["lr"])


def _create(database: Database, project: int, *, trials: int, reports: int) -> str:
    definition = {
        "name": "ledger",
        # One epoch more than reports: nothing is decided at the last one, and here every report is to be judged.
        "objective": {
            "recipe": "classifier",
            "data": "digits",
            "network": {"kind": "mlp", "hidden": [64]},
            "epochs": reports + 1,
        },
        "metrics": [{"name": "val_loss", "goal": "minimize"}],
        "space": {
            "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "scale": "log"},
            "warmup": {"type": "float", "low": 0.0, "high": 0.5},
            "momentum": {"type": "float", "low": 0.0, "high": 0.99},
            "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
            "optimizer": {"type": "categorical", "choices": ["momentum", "nesterov", "rmsprop"]},
        },
        "search": {"strategy": "random", "seed": 1},
        "pruning": {"kind": "median"},
        "budget": {"trials": trials},
    }
    made = database.write(lambda connection: create_study(connection, project, definition, now=utc_now()))
    return show_study(made.view.record.id)


def _check(database: Database, project: int, study: str, *, claimed: Sequence[int], trials: int, reports: int) -> None:
    """Raise AssertionError unless every number was claimed once and stands in the ledger with all it reported."""
    assert sorted(claimed) == list(range(trials)), "a trial was claimed twice, or never"
    row = database.read(lambda connection: get_study_row(connection, project, study))
    assert (row.state, row.allocated, row.finished, row.running) == ("completed", trials, trials, 0)
    stored = database.read(lambda connection: scores(connection, row.id))
    assert [trial.number for trial in stored] == list(range(trials))
    assert {trial.state for trial in stored} <= {TrialState.COMPLETED, TrialState.PRUNED}
    last = database.read(lambda connection: list_measurements(connection, row.id, trials - 1))
    assert [measurement.step for measurement in last] == list(range(1, reports + 1))
