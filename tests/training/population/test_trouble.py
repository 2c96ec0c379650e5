"""Networks that do not stack, steps that fail, memory that runs out: it is that trial's own affair, and others go on."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.recorder import measure
from training import loop, monitors, recipes
from training.__main__ import reason_of
from training.channel import Channel, Order, Start
from training.networks.base import Network, Params
from training.networks.initialisation import INITIALISATIONS, draw, linear
from training.population.floor import Floor
from training.population.lane import Lane
from training.population.stacked import StackedProgram
from training.population.stacks import Stacks

IRIS = {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [8]}, "epochs": 4}


class Script(Channel):
    """A supervisor that sends what it was given to send, and keeps what it hears."""

    def __init__(self, *starts: Start) -> None:
        self._waiting: deque[Start | Order] = deque(starts)
        self.heard: list[Mapping[str, Any]] = []

    def send(self, message: Mapping[str, Any]) -> None:
        self.heard.append(message)

    def next_message(self, seconds: float) -> Start | Order | None:
        del seconds
        return self._waiting.popleft() if self._waiting else None

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [message for message in self.heard if message["type"] == kind]

    @property
    def done(self) -> dict[str, Mapping[str, Any]]:
        return {message["trial"]: message for message in self.of("done")}

    @property
    def measured(self) -> dict[str, list[dict[str, float]]]:
        found: dict[str, list[dict[str, float]]] = {}
        for message in self.of("measurements"):
            for trial, _, values in message["of"]:
                found.setdefault(trial, []).append(values)
        return found


def start(trial: str, **params: Any) -> Start:
    given = {"optimizer": "adam", "lr": 0.01, "batch_size": 16} | params
    return Start(trial, IRIS, given, seed=sum(trial.encode()), wait=frozenset(), lane=True)


def serve(*starts: Start) -> Script:
    script = Script(*starts[1:])
    Floor(script, reason_of).serve(starts[0])
    return script


def train_instead(monkeypatch: pytest.MonkeyPatch, apply: Callable[[Params, Tensor], Tensor], **more: Any) -> None:
    """Let the recipe train a network of one layer that is applied like this."""
    real = recipes.prepare

    def prepare(objective: Any, params: Any, **rest: Any) -> recipes.Prepared:
        given = real(objective, params, **rest)
        parts = linear(given.data.outputs, given.data.features)
        scheme = INITIALISATIONS["he_normal"]
        network = Network(lambda generator: draw(parts, scheme, generator), apply, **more)
        return recipes.Prepared(network, given.data, given.plan, given.device)

    monkeypatch.setattr(recipes, "prepare", prepare)


def stacked(monkeypatch: pytest.MonkeyPatch, losses: Callable[..., Any] | None = None) -> None:
    """Have lanes stepped by tensor operations, and find losses and gradients like this."""
    if losses is not None:
        monkeypatch.setattr(StackedProgram, "_losses", losses)
    monkeypatch.setattr("training.population.lane.compiles", lambda *_: False)
    monkeypatch.setattr("training.population.places.compiles", lambda *_: False)


def plain(params: Params, inputs: Tensor) -> Tensor:
    return torch.nn.functional.linear(inputs, params[0], params[1])


def branching(params: Params, inputs: Tensor) -> Tensor:
    outputs = plain(params, inputs)
    return outputs * 2 if outputs.sum() > 0 else outputs


@pytest.mark.parametrize(
    ("apply", "more", "why"),
    [
        (
            branching,
            {},
            "the network cannot be stacked: RuntimeError: vmap: It looks like you're attempting to use a Tensor",
        ),
        (lambda params, inputs: plain(params, inputs).roll(len(params[0]) % 3, 0), {"stacks": True}, "the network "),
    ],
    ids=["branches on data", "is no network for stacks"],
)
def test_a_network_that_does_not_stack_is_trained_alone(
    monkeypatch: pytest.MonkeyPatch, apply: Callable[[Params, Tensor], Tensor], more: dict[str, Any], why: str
) -> None:
    train_instead(monkeypatch, apply, **more)
    script = serve(start("a"), start("b", optimizer="sgd", lr=0.1))
    assert script.of("room") == []
    for trial, params in (("a", {"optimizer": "adam", "lr": 0.01}), ("b", {"optimizer": "sgd", "lr": 0.1})):
        ran = script.done[trial]["ran"]
        assert script.done[trial]["outcome"] == "completed", script.done[trial]["error"]
        assert ran["alone"].startswith(why)
        assert (ran["lane"], ran["population"]) == (None, 1)
        _, seen = measure(IRIS, params | {"batch_size": 16}, seed=sum(trial.encode()))
        assert script.measured[trial] == [values for _, values in seen]


def test_a_step_that_fails_is_taken_by_each_alone_and_fails_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever the lane's error came from is found, and the others end as they would have."""

    def fragile(params: Params, inputs: Tensor) -> Tensor:
        if params[0].abs().max() > 1e3:
            raise RuntimeError("weights too large for this network")
        return (
            torch.baddbmm(params[1].unsqueeze(-2), inputs, params[0].mT)
            if params[0].ndim > 2
            else plain(params, inputs)
        )

    train_instead(monkeypatch, fragile, stacks=True)
    script = serve(start("a"), start("bad", optimizer="sgd", lr=1e5), start("c", optimizer="momentum", lr=0.01))
    assert script.done["bad"]["outcome"] == "failed"
    assert script.done["bad"]["reason"] == "RuntimeError: weights too large for this network"
    assert "Traceback" in script.done["bad"]["error"]
    for trial in ("a", "c"):
        assert script.done[trial]["outcome"] == "completed", script.done[trial]["error"]
        assert script.done[trial]["ran"]["alone"] == (
            "a step of its lane failed: RuntimeError: weights too large for this network"
        )
        assert len(script.measured[trial]) == IRIS["epochs"]


def test_memory_that_runs_out_shrinks_the_lane_and_gives_members_back(monkeypatch: pytest.MonkeyPatch) -> None:
    real = StackedProgram._losses

    def losses(program: StackedProgram, stacks: Stacks, numbers: Tensor, weights: Tensor) -> Any:
        if len(stacks.runs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(program, stacks, numbers, weights)

    stacked(monkeypatch, losses)
    script = serve(*(start(f"t{number}") for number in range(10)))
    outcomes = [message["outcome"] for message in script.of("done")]
    assert outcomes.count("completed") == 3
    assert outcomes.count("released") == 7
    released = next(message for message in script.of("done") if message["outcome"] == "released")
    assert released["reason"].startswith("out_of_memory: its lane had to shrink")
    assert script.of("room")[-1]["members"] <= 3


def test_one_that_does_not_fit_alone_has_failed_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    stacked(monkeypatch, refuse)
    script = serve(start("a"))
    assert script.done["a"]["outcome"] == "failed"
    assert script.done["a"]["reason"] == "out_of_memory: a batch of 16 did not fit: try batch_size 8"


def test_memory_that_runs_out_in_a_step_leaves_members_behind_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a step taken twice would be another trajectory."""
    real, steps = StackedProgram._losses, 0

    def losses(program: StackedProgram, stacks: Stacks, numbers: Tensor, weights: Tensor) -> Any:
        nonlocal steps
        steps += 1
        if steps == 11:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(program, stacks, numbers, weights)

    stacked(monkeypatch, losses)
    as_alone(serve(start("a"), start("b", optimizer="sgd", lr=0.1)))
    assert steps > 11


def as_alone(script: Script) -> None:
    """Both trials, one of which may have waited for the other to go, took the very steps that they take alone."""
    for trial, params in (("a", {"optimizer": "adam", "lr": 0.01}), ("b", {"optimizer": "sgd", "lr": 0.1})):
        assert script.done[trial]["outcome"] == "completed"
        _, seen = measure(IRIS, params | {"batch_size": 16}, seed=sum(trial.encode()))
        for ours, (_, theirs) in zip(script.measured[trial], seen, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)


def test_memory_that_runs_out_behind_a_step_does_not_have_it_taken_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    real, looks = monitors.look, 0

    def look(*tensors: Any, **more: Any) -> Tensor:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(*tensors, **more)

    monkeypatch.setattr("training.population.stacked.look", look)
    stacked(monkeypatch)
    script = serve(start("a"), start("b", optimizer="sgd", lr=0.1))
    for trial in ("a", "b"):
        for values in script.measured[trial]:
            values.pop("grad_norm", None)  # one look is missing
            values.pop("update_ratio", None)
    for trial, params in (("a", {"optimizer": "adam", "lr": 0.01}), ("b", {"optimizer": "sgd", "lr": 0.1})):
        _, seen = measure(IRIS, params | {"batch_size": 16}, seed=sum(trial.encode()))
        for ours, (_, theirs) in zip(script.measured[trial], seen, strict=True):
            assert ours == pytest.approx({name: theirs[name] for name in ours}, rel=1e-4, abs=1e-4)


def test_one_that_lacks_memory_beside_others_waits_until_they_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others hold is no fault of its own: it is neither failed nor charged."""
    real = loop.start
    begun: list[str] = []

    def begin(*given: Any, **more: Any) -> Any:
        if more["seed"] == sum(b"large") and len(begun) < 3:
            begun.append("refused")
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        begun.append("begun")
        return real(*given, **more)

    monkeypatch.setattr(loop, "start", begin)
    script = serve(start("a"), start("large"), start("b", optimizer="sgd", lr=0.1))
    assert begun == ["begun", "refused", "begun", "begun"]
    assert {done["outcome"] for done in script.done.values()} == {"completed"}
    assert [message["trial"] for message in script.of("done")][-1] == "large"


def test_newcomers_that_memory_does_not_hold_join_by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Lane.join

    def join(lane: Lane, runs: Any) -> None:
        if len(lane.runs) + len(runs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        real(lane, runs)

    monkeypatch.setattr(Lane, "join", join)
    script = serve(*(start(f"t{number}") for number in range(8)))
    outcomes = [message["outcome"] for message in script.of("done")]
    assert (outcomes.count("completed"), outcomes.count("released")) == (2, 6)
    assert [message["members"] for message in script.of("room")][:2] == [4, 2], "the supervisor hears of it each time"


def test_one_that_was_pruned_is_told_although_the_next_step_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = StackedProgram._losses

    def losses(program: StackedProgram, stacks: Stacks, numbers: Tensor, weights: Tensor) -> Any:
        if len(stacks.runs) == 2:
            raise RuntimeError("two is no company")
        return real(program, stacks, numbers, weights)

    class Pruning(Script):
        """Prunes b once all have been measured."""

        told = False

        def next_message(self, seconds: float) -> Start | Order | None:
            if len(self.measured) == 3 and not self.told:
                self.told = True
                return Order("b", None, stop=True, reason="rung 1")
            return super().next_message(seconds)

    stacked(monkeypatch, losses)
    script = Pruning(start("b"), start("c"))
    Floor(script, reason_of).serve(start("a"))
    assert (script.done["b"]["outcome"], script.done["b"]["reason"]) == ("stopped", "rung 1")
    assert script.done["a"]["outcome"] == script.done["c"]["outcome"] == "completed"


def test_a_device_that_fails_fails_all_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    stacked(monkeypatch, refuse)
    script = serve(start("a"), start("b"), start("c"))
    assert {(done["outcome"], done["reason"]) for done in script.done.values()} == {("failed", "device")}


def test_networks_of_other_shapes_have_lanes_of_their_own() -> None:
    wide = replace(start("wide"), objective=IRIS | {"network": {"kind": "mlp", "hidden": [12]}})
    script = serve(start("a"), wide, start("b"))
    assert {done["outcome"] for done in script.done.values()} == {"completed"}
    assert script.done["wide"]["ran"]["lane"] == "mlp hidden=[12], iris, cpu"
    assert script.done["wide"]["ran"]["population"] == 1
    assert script.done["a"]["ran"]["population"] == script.done["b"]["ran"]["population"] == 2


def test_a_network_that_comes_out_in_another_shape_is_trained_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = iter([3, 3, 3, 4, 3])  # two for the trial of whether it stacks, then one a member

    def prepare(objective: Any, params: Any, **rest: Any) -> recipes.Prepared:
        given = real(objective, params, **rest)
        scheme = INITIALISATIONS["he_normal"]

        def init(generator: torch.Generator) -> list[Tensor]:
            return draw(linear(next(outputs, 3), given.data.features), scheme, generator)

        return recipes.Prepared(Network(init, plain), given.data, given.plan, given.device)

    real = recipes.prepare
    monkeypatch.setattr(recipes, "prepare", prepare)
    monkeypatch.setattr("training.population.places.most_members", lambda *_, **__: 8)
    script = serve(start("a"), start("other"), start("c"))
    assert {done["outcome"] for done in script.done.values()} == {"completed"}
    assert script.done["other"]["ran"]["alone"] == "its parameters have other shapes than its lane's"
    assert script.done["a"]["ran"]["population"] == script.done["c"]["ran"]["population"] == 2


NETS = """
from torch import nn

def build(shape, outputs):
    return nn.Sequential(nn.Linear(shape[0], {width}), nn.{activation}(), nn.Linear({width}, outputs))
"""


def test_a_file_that_was_edited_shares_no_lane_with_what_it_was(tmp_path: Path) -> None:
    """The study names it alike, and even the shapes may be the same."""
    file = tmp_path / "nets.py"
    network = {"kind": "registered", "file": str(file), "function": "build", "options": {}}
    objective = IRIS | {"network": network, "epochs": 40}

    class Editing(Script):
        """Edits the file once the first trial has begun, and sends the second."""

        def next_message(self, seconds: float) -> Start | Order | None:
            if self.of("measurements") and self._waiting:
                file.write_text(NETS.format(width=8, activation="Tanh"))
                return super().next_message(seconds)
            return None

    file.write_text(NETS.format(width=8, activation="ReLU"))
    script = Editing(replace(start("later"), objective=objective))
    Floor(script, reason_of).serve(replace(start("first"), objective=objective))
    assert {done["outcome"] for done in script.done.values()} == {"completed"}
    assert [done["ran"]["population"] for done in script.done.values()] == [1, 1]
