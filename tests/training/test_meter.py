"""Runs that are measured: what they report, on what, and what they go on with after a break."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.training.recorder import measure, objective
from training.data.bundled import load
from training.data.splitting import hold_out
from training.meter import Measured, Meter, begin_measuring, held, peak_memory
from training.plan import plan_of
from training.population.places import place_for
from training.recipes import prepare
from training.state import State, restore, snapshot

MEASURED = {"test": 0.25, "target": {"metric": "val_accuracy", "value": 0.9}}
PARAMS = {"optimizer": "adam", "lr": 0.05, "batch_size": 16}
COSTS = {"examples_per_second", "peak_memory", "optimizer_memory", "test_loss", "test_accuracy"}


def test_costs_and_the_test_score_of_the_best_epoch_are_reported() -> None:
    outcome, seen = measure(objective(epochs=8, measured=MEASURED), PARAMS)
    assert outcome.outcome == "completed"
    assert all(set(values) >= COSTS for _, values in seen)
    losses = [values["val_loss"] for _, values in seen]
    for place, (_, values) in enumerate(seen):
        best = losses.index(min(losses[: place + 1]))
        assert values["test_loss"] == seen[best][1]["test_loss"]
    reached = [values for _, values in seen if values["val_accuracy"] >= 0.9]
    assert reached, "the target is within reach"
    first = next(step for step, values in seen if values["val_accuracy"] >= 0.9)
    assert seen[-1][1]["steps_to_target"] == first * 6  # 90 examples, 16 at a time
    assert seen[-1][1]["seconds_to_target"] > 0
    assert all("steps_to_target" not in values for step, values in seen if step < first)


def test_an_unmeasured_run_reports_no_costs() -> None:
    _, seen = measure(objective(), PARAMS)
    assert not COSTS & set(seen[-1][1])


def test_examples_held_out_are_neither_trained_on_nor_validated_on() -> None:
    data = load("wine")
    parts = hold_out(data, 0.25)
    assert parts.test is not None
    assert (len(parts.train) + len(parts.test), len(parts.val)) == (len(data.train), len(data.val))
    rows = {tuple(row.tolist()) for row in parts.train.rows(torch.arange(len(parts.train)))[0]}
    tested = parts.test.rows(torch.arange(len(parts.test)))[0]
    assert not any(tuple(row.tolist()) in rows for row in tested)


def test_it_trains_alone() -> None:
    given = prepare(objective(measured=MEASURED), PARAMS)
    start: Any = SimpleNamespace(objective={"network": {"kind": "mlp"}})
    assert place_for(start, given, threads=1).alone == "what it costs is measured"


def test_the_meter_goes_with_checkpoints() -> None:
    _, seen = measure(objective(measured=MEASURED), PARAMS)
    meter = Meter(
        seconds=2.0, examples=100, steps=5, best=0.3, tested={"test_loss": 0.4}, reached={"steps_to_target": 5.0}
    )
    state = _state(meter)
    again = restore(_state(Meter()), snapshot(state))
    assert again.meter == meter
    assert seen


CPU = torch.device("cpu")


def test_memory_is_counted_from_where_the_run_began() -> None:
    earlier = torch.ones(10**7)
    before = begin_measuring(CPU)
    assert before > 40
    meter = Meter(before=before)
    taken = torch.ones(2 * 10**7)
    meter.take(Measured(test=0.2), {}, device=CPU)
    assert 80 <= meter.peak < 110
    assert len(earlier) + len(taken) == 3 * 10**7


def test_what_others_freed_hides_nothing() -> None:
    pieces = [torch.ones(2000) for _ in range(10_000)]
    del pieces
    meter = Meter(before=begin_measuring(CPU))
    again = [torch.ones(2000) for _ in range(10_000)]
    assert peak_memory(CPU) - meter.before > 0.9 * 8 * len(again) / 1000


def test_a_run_that_goes_on_elsewhere_counts_from_what_is_held_there() -> None:
    saved = snapshot(_state(Meter(before=300.0, peak=7.0)))
    again = restore(_state(Meter(before=500.0)), saved)
    assert again.meter == Meter(before=500.0, peak=7.0)


def test_what_an_optimizer_holds_is_counted() -> None:
    nest = (torch.zeros(1000, dtype=torch.float64), [torch.zeros(500), (torch.zeros(0),)])
    assert held(nest) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"test": 1.0}, r"objective.measured.test must be a share in \(0, 1\), got 1.0"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of(objective(measured=given), PARAMS)


def test_a_target_must_be_reported() -> None:
    with pytest.raises(ValueError, match=r"'val_f1' is not reported; valid: .*val_accuracy"):
        measure(objective(measured={"target": {"metric": "val_f1", "value": 1.0}}), PARAMS)


def _state(meter: Meter) -> Any:
    return State([torch.zeros(1)], (torch.zeros(1),), torch.Generator().get_state(), meter=meter)
