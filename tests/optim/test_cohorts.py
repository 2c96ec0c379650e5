"""Parameters that took every step together stay together, through saving and loading too."""

import copy

import pytest
import torch
from torch import Tensor

from optim import catalog
from optim.build import build, build_rule
from optim.cohorts import cohorts
from tests.optim.peers import PEERS
from tests.support.optimizers import STEPPED

COUNTED = sorted(
    name
    for name in STEPPED
    if any(
        isinstance(value, Tensor)
        for cohort in cohorts(build_rule(name), [torch.zeros(1)], {})
        for value in cohort.fields.values()
    )
)


def leaves(count: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.linspace(-1, 2, 4, dtype=dtype).reshape(2, 2).requires_grad_() for _ in range(count)]


def step(optimizer: torch.optim.Optimizer, used: list[Tensor]) -> None:
    optimizer.zero_grad()
    torch.stack([(param**2).sum() for param in used]).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@pytest.mark.parametrize("name", ["adam", "nadam", "adafactor"])
def test_those_that_sat_out_the_same_steps_form_a_cohort(name: str) -> None:
    params = leaves(4)
    optimizer = build(name, params)
    step(optimizer, params[:2])
    step(optimizer, params)
    found = cohorts(build_rule(name), params, optimizer.state)
    assert [[id(param) for param in cohort.params] for cohort in found] == [
        [id(param) for param in pair] for pair in (params[:2], params[2:])
    ]
    assert [cohort.fields["step"].item() for cohort in found] == [2, 1]


@pytest.mark.parametrize("name", ["adam", "nadam", "radam", "adafactor"])
def test_each_goes_on_by_its_own_count(name: str) -> None:
    """A parameter that joins late takes the steps of one that is alone."""
    early, late, alone = leaves(3)
    together, single = build(name, [early, late]), build(name, [alone])
    step(together, [early])
    for _ in range(5):
        step(together, [early, late])
        step(single, [alone])
    assert torch.allclose(late, alone, rtol=1e-14, atol=0)
    assert not torch.allclose(early, alone)


@pytest.mark.parametrize("name", sorted({*COUNTED} & {*PEERS}))
def test_one_that_sits_out_in_the_middle_goes_on_as_in_torch(name: str) -> None:
    ours, theirs = leaves(3), leaves(3)
    options = catalog.complete(catalog.OPTIMIZERS[name], {"lr": 0.01})
    pairs = [(build(name, ours, **options), ours), (PEERS[name](theirs, options), theirs)]
    for turn in range(20):
        for optimizer, params in pairs:
            step(optimizer, params if turn % 3 == 0 else params[:2])
    for param, peer in zip(ours, theirs, strict=True):
        assert (param - peer).abs().max() <= 1e-12
    assert not torch.allclose(ours[0], ours[2])


def test_those_whose_counts_are_equal_again_step_together_again() -> None:
    """Or each would step by itself in the end, where gradients come and go."""
    params = leaves(4)
    optimizer = build("radam", params)
    step(optimizer, params)
    step(optimizer, params[:2])
    assert len(cohorts(build_rule("radam"), params, optimizer.state)) == 2
    step(optimizer, params[2:])
    step(optimizer, params)
    [cohort] = cohorts(build_rule("radam"), params, optimizer.state)
    assert cohort.fields["step"].item() == 3


@pytest.mark.parametrize("name", COUNTED)
def test_loading_keeps_cohorts_together_and_counts_in_their_precision(name: str) -> None:
    """In float32 too, to which torch casts whatever it loads."""
    params, others = leaves(3, torch.float32), leaves(3, torch.float32)
    optimizer, twin = build(name, params), build(name, others)
    step(optimizer, params[:2])
    step(optimizer, params)
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    before, after = (
        cohorts(build_rule(name), given, state.state) for given, state in ((params, optimizer), (others, twin))
    )
    assert [len(cohort.params) for cohort in after] == [len(cohort.params) for cohort in before] == [2, 1]
    for ours, theirs in zip(before, after, strict=True):
        for field, value in ours.fields.items():
            if isinstance(value, Tensor):
                assert theirs.fields[field].dtype == value.dtype
                assert torch.equal(theirs.fields[field], value)


def test_refuses_the_state_of_another_optimizer() -> None:
    [param] = leaves(1)
    theirs = torch.optim.Adam([param])
    step(theirs, [param])
    with pytest.raises(ValueError, match="a state of exp_avg, exp_avg_sq, step, where adam keeps mean, square, step"):
        build("adam", [param]).load_state_dict(theirs.state_dict())
