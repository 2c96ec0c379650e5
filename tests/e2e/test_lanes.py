"""Trials that share a trainer, with real workers: what a lane changes about them, and what its death does."""

from collections.abc import Iterator
from math import ceil, log2
from pathlib import Path
from typing import Any

import pytest

from models.session import Database
from search.studies.service import cancel_study
from tests.support.crew import Start, announce, attempts, crew, rows, settle, trainer
from tests.support.deployment import wait_for
from tests.support.ledger import Ledger, definition, opened
from workers.checkpoints import Shelf
from workers.habits import Habits
from workers.running import Terms
from workers.supervisor import Supervisor

# Rounding differs between lanes of different sizes; a run of so few steps at such rates blows it up to no more than this.
CLOSE = 1e-3
DIGITS: dict[str, Any] = {
    "recipe": "classifier",
    "data": "digits",
    "network": {"kind": "mlp", "hidden": [32]},
    "epochs": 8,
}
# Nothing in here makes chaos: every trial learns.
GRID12: dict[str, Any] = {
    "objective": DIGITS,
    "space": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "adam"]},
        "lr": {"type": "float", "low": 0.001, "high": 0.01, "scale": "log", "levels": 2},
        "batch_size": {"type": "categorical", "choices": [32, 64]},
    },
    "search": {"strategy": "grid", "seed": 5},
    "budget": {},
}
# Sixteen that train for some seconds together: as stacks, for those that are compiled are done before one looks.
LONG16: dict[str, Any] = {
    "objective": {**DIGITS, "network": {"kind": "mlp", "hidden": [32], "activation": "gelu"}, "epochs": 30},
    "space": {
        "optimizer": {"type": "categorical", "choices": ["sgd", "momentum"]},
        "lr": {"type": "float", "low": 0.001, "high": 0.01, "scale": "log"},
        "batch_size": {"type": "categorical", "choices": [16, 32]},
    },
    "search": {"strategy": "random", "seed": 11},
    "budget": {"trials": 16},
}
# A layer of this network ends its process when it is given numbers that no sound training gives it.
NETS = """
import os, signal
import torch
from torch import nn

class Fuse(torch.autograd.Function):
    @staticmethod
    def forward(x):
        if float(x.detach().abs().max()) > 1e4:
            os.kill(os.getpid(), signal.SIGKILL)
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return grad

    @staticmethod
    def vmap(info, in_dims, x):
        return Fuse.apply(x), in_dims[0]

class Fused(nn.Module):
    def forward(self, x):
        return Fuse.apply(x)

def build(shape, outputs):
    channels, height, across = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * across, 16), nn.ReLU(), Fused(), nn.Linear(16, outputs))
"""
WILD = 1e6
FUSED: dict[str, Any] = {
    "objective": {**DIGITS, "network": {"kind": "registered", "name": "fused"}, "epochs": 30},
    "space": {
        "optimizer": {"type": "categorical", "choices": ["sgd"]},
        "lr": {"type": "categorical", "choices": [*(0.001 * step for step in range(1, 24)), WILD]},
    },
    "search": {"strategy": "grid", "seed": 2},
    "budget": {},
}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Ledger, Start]]:
    """Yield a ledger and what starts workers of this test's own."""
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "tuneup.toml").write_text('[networks.fused]\nfile = "nets.py"\n')
    settings = {"TUNEUP_OBJECTIVES": str(tmp_path / "tuneup.toml"), "TUNEUP_CHECKPOINT_SECONDS": "0.3"}
    with crew(tmp_path, **settings) as made:
        yield made


def posted(parts: dict[str, Any], **more: Any) -> Any:
    """Return a study of these parts."""
    return {**definition(), **parts, **more}


def losses(ledger: Ledger, study: str) -> dict[tuple[int, int], float]:
    """Return the loss of each (trial, step): of the latest attempt that measured it."""
    measured = sorted(rows(ledger, "measurement", study), key=lambda row: row.attempt)
    return {(row.number, row.step): row.values["val_loss"] for row in measured}


def tried(ledger: Ledger, study: str, attempt: int) -> dict[int, Any]:
    """Return the attempts of this ordinal, by trial."""
    return {row.number: row for row in attempts(ledger, study) if row.attempt == attempt}


def measured_first(ledger: Ledger, study: str, attempt: int) -> dict[int, int]:
    """Return the first step that each trial measured in this attempt."""
    found: dict[int, int] = {}
    for row in rows(ledger, "measurement", study):
        if row.attempt == attempt:
            found[row.number] = min(row.step, found.get(row.number, row.step))
    return found


def resumable(ledger: Ledger, study: str, attempt: int) -> dict[int, int]:
    """Return the newest checkpoint that each trial had when this attempt ended."""
    found: dict[int, int] = {}
    for row in rows(ledger, "checkpoint", study):
        if row.attempt <= attempt:
            found[row.number] = max(row.step, found.get(row.number, 0))
    return found


# Compiled trials may have ended before there was room for more.
@pytest.mark.parametrize(("activation", "largest", "sharing"), [("gelu", 5, 11), ("relu", 4, 6)])
def test_a_lane_gives_the_results_of_single_runs(
    own: tuple[Ledger, Start], activation: str, largest: int, sharing: int
) -> None:
    ledger, start = own
    announce(ledger, start)
    grid = {**GRID12, "objective": {**DIGITS, "network": {**DIGITS["network"], "activation": activation}}}
    single = ledger.create(posted(grid, execution="single"))
    alone = settle(ledger, single)
    auto = ledger.create(posted(grid))
    together = settle(ledger, auto)
    assert [trial.state for trial in alone + together] == ["completed"] * 24
    assert [trial.params for trial in alone] == [trial.params for trial in together]
    assert losses(ledger, auto) == pytest.approx(losses(ledger, single), rel=CLOSE)
    assert all(trial.execution is None or trial.execution["population"] == 1 for trial in alone)
    said = [trial.execution or {} for trial in together]
    assert [(how["lane"], how["alone"]) for how in said] == [
        (f"mlp hidden=[32] activation={activation}, digits, cpu", None)
    ] * 12
    assert max(how["population"] for how in said) >= largest
    assert sum(how["population"] > 1 for how in said) >= sharing
    assert all(how["seconds"] > 0 for how in said)


@pytest.mark.slow
def test_a_lane_that_is_killed_goes_on_as_if_nothing_had_been(own: tuple[Ledger, Start]) -> None:
    ledger, start = own
    process = announce(ledger, start)
    study = ledger.create(posted(LONG16))

    def deep() -> bool:
        """All are on the trainer, and each has a checkpoint."""
        return len(resumable(ledger, study, 1)) == 16

    wait_for(deep, seconds=60, what="a checkpoint of each of sixteen")
    trainer(process).kill()
    wait_for(lambda: all(row.state == "lost" for row in tried(ledger, study, 1).values()), seconds=30, what="all lost")
    kept = resumable(ledger, study, 1)
    trials = settle(ledger, study, seconds=180)
    assert [trial.state for trial in trials] == ["completed"] * 16
    first, second = tried(ledger, study, 1), tried(ledger, study, 2)
    assert {(row.state, row.reason, row.population) for row in first.values()} == {("lost", "lane", 16)}
    assert {row.state for row in second.values()} == {"ended"}
    assert (len(second), tried(ledger, study, 3)) == (16, {})
    assert max(row.population for row in second.values()) <= 8
    assert measured_first(ledger, study, 2) == {number: step + 1 for number, step in kept.items()}
    reference = ledger.create(posted(LONG16))
    settle(ledger, reference, seconds=180)
    assert tried(ledger, reference, 2) == {}
    assert losses(ledger, study) == pytest.approx(losses(ledger, reference), rel=CLOSE)


@pytest.mark.slow
def test_one_that_kills_trainers_is_found_and_the_others_complete(own: tuple[Ledger, Start]) -> None:
    ledger, start = own
    announce(ledger, start)
    study = ledger.create(posted(FUSED))
    trials = settle(ledger, study, seconds=300)
    (bad,) = [trial for trial in trials if trial.params["lr"] == WILD]
    assert (bad.state, bad.reason.partition(":")[0]) == ("failed", "poison")
    assert [trial.state for trial in trials if trial is not bad] == ["completed"] * (len(trials) - 1)
    history = [row for row in attempts(ledger, study) if row.number == bad.number]
    assert [row.reason.partition(":")[0] for row in history[-3:]] == ["poison"] * 3
    assert {row.reason for row in history[:-3]} <= {"lane"}
    assert len(history) > 3, "it was alone from the beginning"
    halvings = ceil(log2(max(row.population for row in attempts(ledger, study))))
    assert max(trial.attempt for trial in trials if trial is not bad) <= halvings + 1
    blamed = {row.number for row in attempts(ledger, study) if (row.reason or "").startswith("poison")}
    assert blamed == {bad.number}


@pytest.fixture
def brisk(sqlite_url: str, tmp_path: Path) -> Iterator[Ledger]:
    """Yield a ledger whose only worker, in this process, leaves its trainer to who waits after two seconds, not thirty."""
    terms = Terms(shelf=Shelf(tmp_path / "checkpoints", 1000.0), grace_seconds=10.0)
    habits = Habits(queue="cpu", heartbeat_seconds=0.5, poll_seconds=0.5, slice_seconds=2.0, terms=terms)
    with opened(sqlite_url) as ledger:
        supervisor = Supervisor(Database(sqlite_url), habits, nudge=lambda _: None)
        supervisor.start()
        try:
            yield ledger
        finally:
            supervisor.close()


@pytest.mark.slow
def test_a_lane_is_left_to_a_study_that_waits(brisk: Ledger) -> None:
    """The first study would take half an hour. It gives its trials back for the second one, and they go on where they were."""
    endless = brisk.create(posted(LONG16, objective={**LONG16["objective"], "epochs": 10_000}))
    wait_for(lambda: len(measured_first(brisk, endless, 1)) == 16, seconds=60, what="sixteen at work")
    short = brisk.create(posted(GRID12, objective={**DIGITS, "epochs": 2}))
    assert [trial.state for trial in settle(brisk, short, seconds=120)] == ["completed"] * 12
    assert brisk.study(endless).record.state == "running"
    first = tried(brisk, endless, 1)
    assert {(row.state, row.reason) for row in first.values()} == {("released", "yielded")}
    assert all(row.seconds > 0 for row in first.values())
    kept = {row.number: row.step for row in rows(brisk, "checkpoint", endless) if row.attempt == 1}
    wait_for(lambda: len(measured_first(brisk, endless, 2)) == 16, seconds=60, what="sixteen at work again")
    assert measured_first(brisk, endless, 2) == {number: step + 1 for number, step in kept.items()}
    brisk.act(cancel_study, endless)
    settle(brisk, endless)
    assert tried(brisk, endless, 3) == {}
