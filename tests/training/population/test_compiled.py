"""Compiled steps are the steps that tensor operations take, and only those networks are given them that they know."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.population.test_lane import Keeper, double, doubled, plan
from training import loop
from training.course import Run
from training.data.bundled import load
from training.data.examples import Data
from training.networks.table import build_network
from training.population.compiled import CompiledProgram, program_for
from training.population.programs import Program, Taken
from training.population.stacked import StackedProgram
from training.population.stacks import Stacks, views
from training.population.strides import lay_out
from training.precision import in_precision

DIGITS, AMOUNTS = doubled(load("digits")), doubled(load("diabetes"))
STEPS = 4


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


PLANS = [
    *(plan("adam", lr=0.01, weight_decay=0.1, bias_correction=on) for on in (True, False)),
    plan("adamw", lr=0.01, weight_decay=0.1, batch_size=20),
    plan("lion", lr=0.001),
    plan("momentum", lr=0.02, weight_decay=0.1, ema=0.9),
    plan("momentum", lr=0.02, momentum=0.5, schedule="cosine", warmup=0.3),
    plan("nesterov", lr=0.02, batch_size=33),
    plan("sgd", lr=0.05, weight_decay=0.01),
]


def stacks_of(data: Data, spec: dict[str, Any], plans: list[Any]) -> tuple[Stacks, list[Run]]:
    network = double(build_network(spec, data))
    runs = [loop.start(network, data, given, seed=seed, watch=Keeper()) for seed, given in enumerate(plans)]
    stacks = Stacks().of(runs)
    return stacks, stacks.runs


def stepped(
    program: Program, stacks: Stacks, runs: list[Run], *, threads: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take some steps, in all of which some are looked at; return losses and readings."""
    stride, taken = lay_out(runs, most=STEPS), Taken()
    due = np.arange(STEPS * len(runs)).reshape(STEPS, len(runs)) % 3 == 0
    program.step(stacks, stride, due, taken, threads=threads)
    seen = [torch.where(torch.from_numpy(whose).unsqueeze(1), look.double(), 0.0) for look, whose in taken.looks]
    return torch.stack(taken.losses).double(), torch.stack(seen)


@pytest.mark.parametrize("data", [DIGITS, AMOUNTS], ids=["classes", "numbers"])
@pytest.mark.parametrize(
    "network",
    [{"hidden": []}, {"hidden": [8]}, {"hidden": [7, 5, 6], "activation": "tanh"}],
    ids=["none hidden", "relu", "three of tanh"],
)
def test_they_equal_steps_of_tensors(data: Data, network: dict[str, Any]) -> None:
    spec = {"kind": "mlp", **network}
    built = double(build_network(spec, data))
    (ours, runs), (theirs, others) = (stacks_of(data, spec, PLANS) for _ in range(2))
    losses, seen = stepped(CompiledProgram(built, data), ours, runs)
    same_losses, same_seen = stepped(StackedProgram(built, data), theirs, others)
    for one, other in ((losses, same_losses), (seen[..., :2], same_seen[..., :2]), (ours.rows, theirs.rows)):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)
    # By how much gradients differ from layer to layer the plain form says in float32.
    torch.testing.assert_close(seen[..., 2], same_seen[..., 2], rtol=1e-6, atol=0)
    for crew, same in zip(ours.crews, theirs.crews, strict=True):
        torch.testing.assert_close(crew.state, same.state, rtol=1e-11, atol=1e-13)
    evaluated = CompiledProgram(built, data).evaluate(ours.rows, ours.shapes)
    for means, wanted in zip(evaluated, StackedProgram(built, data).evaluate(ours.rows, ours.shapes), strict=True):
        assert means == pytest.approx(wanted, rel=1e-11)


def test_it_does_not_matter_who_is_beside_a_member_or_on_which_thread_it_is() -> None:
    spec = {"kind": "mlp", "hidden": [8]}
    program = CompiledProgram(double(build_network(spec, DIGITS)), DIGITS)
    plans = [plan("adam", lr=0.01), plan("adam", lr=0.02), plan("sgd", lr=0.1)]
    (ours, runs), (theirs, others) = (stacks_of(DIGITS, spec, plans) for _ in range(2))
    theirs.rows[2] = torch.inf
    stepped(program, ours, runs)
    losses, _ = stepped(program, theirs, others, threads=2)
    assert torch.equal(ours.rows[:2], theirs.rows[:2])
    assert losses[:, :2].isfinite().all()
    assert not losses[:, 2].isfinite().any(), "what is no number stays so"
    alone, run = stacks_of(DIGITS, spec, plans[:1])
    stepped(program, alone, run)
    assert torch.equal(alone.rows[0], ours.rows[0])


def test_members_stand_behind_the_last_step_where_one_cannot_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, plans = {"kind": "mlp", "hidden": [8]}, [plan("adam", lr=0.01), plan("lion", lr=0.001)]
    program = CompiledProgram(double(build_network(spec, DIGITS)), DIGITS)
    (ours, runs), (wanted, others) = (stacks_of(DIGITS, spec, plans) for _ in range(2))
    real, calls = type(ours.crews[0]).propose, 0

    def propose(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(*given)

    nobody, taken = np.zeros((STEPS, 2), bool), Taken()
    with monkeypatch.context() as patch:
        patch.setattr("training.population.stacks.Crew.propose", propose)
        with pytest.raises(torch.OutOfMemoryError):
            program.step(ours, lay_out(runs, most=STEPS), nobody, taken, threads=1)
    assert len(taken.losses) == 2
    program.step(wanted, lay_out(others, most=2), nobody[:2], Taken(), threads=1)
    assert torch.equal(ours.rows, wanted.rows)


def test_networks_that_are_more_than_dense_layers_are_stepped_by_tensors() -> None:
    mlp = build_network({"kind": "mlp", "hidden": [8]}, DIGITS)
    assert isinstance(program_for(mlp, DIGITS), CompiledProgram)
    cpu = torch.device("cpu")
    others = [
        build_network({"kind": "mlp", "hidden": [8], "activation": "gelu"}, DIGITS),
        build_network({"kind": "cnn", "channels": [4]}, DIGITS),
        in_precision(mlp, "bfloat16", cpu),
    ]
    assert all(isinstance(program_for(network, DIGITS), StackedProgram) for network in others)
    other_task = replace(DIGITS, task=replace(DIGITS.task, losses=lambda outputs, _: outputs.sum(dim=1)))
    assert isinstance(program_for(mlp, other_task), StackedProgram)


def test_what_is_read_of_members_is_theirs() -> None:
    """Parameters are written where the views of the lane see them."""
    stacks, runs = stacks_of(DIGITS, {"kind": "mlp", "hidden": [8]}, [plan("sgd", lr=0.1)])
    before = [part.clone() for part in views(stacks.rows, stacks.shapes)]
    stepped(program_for(double(build_network({"kind": "mlp", "hidden": [8]}, DIGITS)), DIGITS), stacks, runs)
    assert all((one != other).any() for one, other in zip(stacks.params, before, strict=True))
