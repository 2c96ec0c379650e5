"""Compiled steps are the steps that tensor operations take, and only those networks are given them that they know."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.training.population.test_lane import Keeper, double, doubled, plan
from training import loop
from training.data.bundled import load
from training.data.examples import Data
from training.networks.base import Network
from training.networks.table import build_network
from training.population.compiled import CompiledProgram, compiles
from training.population.costs import Clock
from training.population.lane import Lane
from training.population.programs import STRIDE_SECONDS, Program, Taken
from training.population.stacked import StackedProgram
from training.population.stacks import Crew, Stacks, views
from training.population.threads import Threads
from training.precision import in_precision

DIGITS, AMOUNTS = doubled(load("digits")), doubled(load("diabetes"))
STEPS = 4


PLANS = [
    *(plan("adam", lr=0.01, weight_decay=0.1, bias_correction=on) for on in (True, False)),
    plan("adamw", lr=0.01, weight_decay=0.1, batch_size=20),
    plan("lion", lr=0.001),
    plan("momentum", lr=0.02, weight_decay=0.1, ema=0.9),
    plan("momentum", lr=0.02, momentum=0.5, schedule="cosine", warmup=0.3),
    plan("nesterov", lr=0.02, batch_size=33),
    plan("sgd", lr=0.05, weight_decay=0.01),
]


def stacks_of(data: Data, spec: dict[str, Any], plans: list[Any]) -> Stacks:
    network = double(build_network(spec, data))
    runs = [loop.start(network, data, given, seed=seed, watch=Keeper()) for seed, given in enumerate(plans)]
    return Stacks().of(runs)


def stepped(program: Program, stacks: Stacks, *, steps: int = STEPS) -> tuple[torch.Tensor, torch.Tensor]:
    """Take a step of all, as often as this; return losses, and the readings of the first step, at which all look."""
    losses, first = [], torch.empty(0)
    for step in range(steps):
        taken = a_stride(program, stacks, whole=False)
        assert (taken.steps == 1).all()
        losses += taken.losses
        if step == 0:
            ((first, times),) = taken.looks
            assert (times == 1).all()
    return torch.cat(losses).double(), first.double()


def a_stride(program: Program, stacks: Stacks, *, whole: bool = True) -> Taken:
    """Take an epoch of all, or a step; a program that has seen none takes one."""
    if isinstance(program, CompiledProgram):
        program._pace = 1e-9 if whole else None
    elif isinstance(program, StackedProgram):
        program._clock = Clock()
    taken = Taken.nothing(len(stacks.runs))
    try:
        program.step(stacks, (), taken)
    finally:
        for run, steps in zip(stacks.runs, taken.steps.tolist(), strict=True):
            run.state.batches += steps
    return taken


def stacked(network: Network, data: Data) -> StackedProgram:
    return StackedProgram(network, data, Clock(), Threads(1))


@pytest.mark.parametrize("data", [DIGITS, AMOUNTS], ids=["classes", "numbers"])
@pytest.mark.parametrize(
    "network",
    [{"hidden": []}, {"hidden": [8]}, {"hidden": [7, 5, 6], "activation": "tanh"}],
    ids=["none hidden", "relu", "three of tanh"],
)
def test_they_equal_steps_of_tensors(data: Data, network: dict[str, Any]) -> None:
    spec = {"kind": "mlp", **network}
    built = double(build_network(spec, data))
    ours, theirs = (stacks_of(data, spec, PLANS) for _ in range(2))
    losses, seen = stepped(CompiledProgram(built, data), ours)
    same_losses, same_seen = stepped(stacked(built, data), theirs)
    for one, other in ((losses, same_losses), (seen[:, :2], same_seen[:, :2]), (ours.rows, theirs.rows)):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)
    # By how much gradients differ from layer to layer the plain form says in float32.
    torch.testing.assert_close(seen[:, 2], same_seen[:, 2], rtol=1e-6, atol=0)
    for crew, same in zip(ours.crews, theirs.crews, strict=True):
        torch.testing.assert_close(crew.state, same.state, rtol=1e-11, atol=1e-13)
    evaluated = CompiledProgram(built, data).evaluate(ours.rows, ours.shapes)
    for means, wanted in zip(evaluated, stacked(built, data).evaluate(ours.rows, ours.shapes), strict=True):
        assert means == pytest.approx(wanted, rel=1e-11)


def test_it_does_not_matter_who_is_beside_a_member_or_on_which_thread_it_is() -> None:
    spec, plans = {"kind": "mlp", "hidden": [8]}, [plan("adam", lr=0.01), plan("adam", lr=0.02), plan("sgd", lr=0.1)]
    network = double(build_network(spec, DIGITS))
    ours, theirs = (stacks_of(DIGITS, spec, plans) for _ in range(2))
    theirs.rows[2] = torch.inf
    a_stride(CompiledProgram(network, DIGITS), ours)
    taken = a_stride(CompiledProgram(network, DIGITS, threads=2), theirs)
    assert torch.equal(ours.rows[:2], theirs.rows[:2])
    (losses,) = taken.losses
    assert losses[:, :2].isfinite().all()
    assert not losses[:, 2].isfinite().any(), "what is no number stays so"
    alone = stacks_of(DIGITS, spec, plans[:1])
    a_stride(CompiledProgram(network, DIGITS), alone)
    assert torch.equal(alone.rows[0], ours.rows[0])


def test_each_goes_to_the_end_of_its_own_epoch_but_for_who_is_to_stand_still() -> None:
    sizes = [48, 30, 200, 7]
    plans = [plan("sgd", lr=0.05, batch_size=size) for size in sizes]
    spec = {"kind": "mlp", "hidden": [8]}
    whole, single = (stacks_of(DIGITS, spec, plans) for _ in range(2))
    program, waits = CompiledProgram(double(build_network(spec, DIGITS)), DIGITS), whole.runs[1]
    before, taken = whole.rows.clone(), Taken.nothing(len(plans))
    program._pace = 1e-9
    program.step(whole, {waits}, taken)
    assert taken.steps.tolist() == [5, 0, 1, 29]
    assert torch.equal(whole.rows[1], before[1])
    for place, size in enumerate(sizes):
        losses = taken.losses[0][: taken.steps[place], place]
        while taken.steps[place] > single.runs[place].state.batches:
            (step,) = a_stride(program, single, whole=False).losses
            assert step[0, place] == losses[single.runs[place].state.batches - 1]
        assert taken.lasts[place] == (0 if place == 1 else 200 % size or size)


def test_who_waits_holds_up_a_crew_that_is_stepped_by_tensors_and_no_other() -> None:
    """The floor lets such a lane wait, or its members step aside."""
    network = double(build_network({"kind": "mlp", "hidden": [8]}, DIGITS))
    lane = Lane(network, DIGITS)
    lane.join([loop.start(network, DIGITS, plan("sgd", lr=0.1), seed=1, watch=Keeper())])
    assert lane.choosy
    lane.join([loop.start(network, DIGITS, plan("lion", lr=0.001), seed=2, watch=Keeper())])
    assert not lane.choosy


def test_a_stride_keeps_to_its_time_whoever_joins() -> None:
    """What one example takes is seen anew each time: some optimizers take a hundred times as long as others."""
    spec = {"kind": "mlp", "hidden": [8]}
    program, stacks = CompiledProgram(double(build_network(spec, DIGITS)), DIGITS), stacks_of(DIGITS, spec, PLANS[:1])
    a_stride(program, stacks)
    seen = program._pace
    assert seen is not None
    program._pace = STRIDE_SECONDS / (2.5 * 48)
    taken = Taken.nothing(1)
    for run in stacks.runs:
        run.state.batches = 0
    program.step(stacks, (), taken)
    assert taken.steps.tolist() == [2]
    program.step(stacks, {*stacks.runs}, Taken.nothing(1))
    assert program._pace is not None, "a stride of nobody says nothing"


def test_members_stand_behind_the_last_step_where_one_cannot_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, plans = {"kind": "mlp", "hidden": [8]}, [plan("lion", lr=0.001), plan("sgd", lr=0.01)]
    program = CompiledProgram(double(build_network(spec, DIGITS)), DIGITS)
    ours, wanted = (stacks_of(DIGITS, spec, plans) for _ in range(2))
    real, calls = Crew.propose, 0

    def propose(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(Crew, "propose", propose)
        with pytest.raises(torch.OutOfMemoryError):
            a_stride(program, ours)
    assert [run.state.batches for run in ours.runs] == [2, 0]
    stepped(program, wanted, steps=2)
    assert torch.equal(ours.rows[0], wanted.rows[0])


def test_networks_that_are_large_or_more_than_dense_layers_are_stepped_by_tensors() -> None:
    mlp = build_network({"kind": "mlp", "hidden": [8]}, DIGITS)
    assert compiles(mlp, DIGITS)
    cpu = torch.device("cpu")
    others = [
        build_network({"kind": "mlp", "hidden": [8], "activation": "gelu"}, DIGITS),
        build_network({"kind": "mlp", "hidden": [4096, 512]}, DIGITS),
        build_network({"kind": "cnn", "channels": [4]}, DIGITS),
        in_precision(mlp, "bfloat16", cpu),
    ]
    assert not any(compiles(network, DIGITS) for network in others)
    other_task = replace(DIGITS, task=replace(DIGITS.task, losses=lambda outputs, _: outputs.sum(dim=1)))
    assert not compiles(mlp, other_task)


def test_what_is_read_of_members_is_theirs() -> None:
    """Parameters are written where the views of the lane see them."""
    stacks = stacks_of(DIGITS, {"kind": "mlp", "hidden": [8]}, [plan("sgd", lr=0.1)])
    before = [part.clone() for part in views(stacks.rows, stacks.shapes)]
    stepped(CompiledProgram(double(build_network({"kind": "mlp", "hidden": [8]}, DIGITS)), DIGITS), stacks)
    assert all((one != other).any() for one, other in zip(stacks.params, before, strict=True))
