"""What SKFAC, EKFAC, SMW-NG and SENG have in common: they change the step, members are each alone, nonsense is counted."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim.precondition.batch import Batch, Looked
from optim.precondition.interface import Preconditioner
from optim.precondition.methods import METHODS
from optim.transform import Hyper, Rule, stack
from tests.optim.precondition.cases import (
    Case,
    flat,
    grouped,
    mlp,
    normalised,
    options,
    stacked_mlp,
    stacked_options,
    step,
    together,
)
from tests.training.recorder import Recorder, objective
from training import loop, recipes
from training.population.lane import Lane

NAMES = ["skfac", "ekfac", "smw_ngd", "seng"]
KEPT = ["skfac", "ekfac"]
STEPS, RATE = 5, 0.05
# Options in which members differ, as far as a method has them.
OWN: list[dict[str, Any]] = [
    {"damping": 1e-2, "interval": 1, "fisher": "empirical", "sketch": 4},
    {"damping": 0.1, "interval": 3, "fisher": "sampled", "samples": 2, "curvature_beta": 0.5},
    {"damping": 1e-3, "interval": 2, "fisher": "exact", "curvature_interval": 2, "rank": 2},
]
MEMBERS = len(OWN)

by_name = pytest.mark.parametrize("name", NAMES)


def _options(name: str, member: int) -> dict[str, Tensor]:
    known = options(name)
    return options(name, **{key: value for key, value in OWN[member].items() if key in known})


def _advance(
    link: Rule[Any], state: Any, params: Sequence[Tensor], hyper: Hyper, batch: Looked
) -> tuple[list[Tensor], Any]:
    found, state = link.step(batch.gradients(), state, params, hyper, batch)
    return [(param - RATE * each).detach() for param, each in zip(params, found, strict=True)], state


def _alone(name: str, batch: Batch, member: int) -> list[Tensor]:
    link = METHODS[name].link(batch.layers)
    params, state = [param.detach() for param in batch.params], link.init(batch.params)
    for _ in range(STEPS):
        params, state = _advance(link, state, params, _options(name, member), batch.moved(params))
    return params


def _together(name: str, link: Rule[Any], start: Sequence[Tensor], batch: Looked) -> list[Tensor]:
    params = [param.detach() for param in start]
    state = stack([link.init([param[place] for param in params]) for place in range(MEMBERS)])
    hyper = stacked_options([_options(name, member) for member in range(MEMBERS)])
    for _ in range(STEPS):
        params, state = _advance(link, state, params, hyper, batch.moved(params))
    return params


@by_name
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_stacked_members_go_as_each_alone(name: str, padded: bool) -> None:
    params, batch, alone = stacked_mlp(MEMBERS, padded=padded)
    found = _together(name, METHODS[name].link(alone[0].layers), params, batch)
    for member, own in enumerate(alone):
        for param, wanted in zip(found, _alone(name, own, member), strict=True):
            torch.testing.assert_close(param[member], wanted, rtol=0, atol=1e-10)


@by_name
@pytest.mark.parametrize("make", [grouped, normalised], ids=lambda make: make.__name__)
def test_members_of_other_networks_go_as_each_alone(name: str, make: Callable[[int], Case]) -> None:
    cases = [make(seed) for seed in range(MEMBERS)]
    batch = together(cases, name)
    found = _together(name, METHODS[name].link(cases[0].batch(name).layers), batch.params, batch)
    for member, case in enumerate(cases):
        for param, wanted in zip(found, _alone(name, case.batch(name), member), strict=True):
            # Eigenvectors of what was hardly seen turn further by rounding than anything else does.
            tolerance = 1e-7 if name == "ekfac" else 1e-10
            torch.testing.assert_close(param[member], wanted, rtol=0, atol=tolerance)


@by_name
@pytest.mark.parametrize("make", [mlp, grouped, normalised], ids=lambda make: make.__name__)
def test_every_layers_step_is_another_and_one_of_descent(name: str, make: Callable[[], Case]) -> None:
    case = make()
    grads = case.batch().gradients()
    found = step(name, case)
    for new, grad in zip(found, grads, strict=True):
        assert torch.cosine_similarity(new.flatten(), grad.flatten(), dim=0) < 1 - 1e-6
    assert flat(found) @ flat(grads) > 0


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_moves_from_step_to_step(name: str) -> None:
    case = grouped()
    link, known = METHODS[name].link(case.batch(name).layers), options(name)
    hyper = options(name, **{key: 1 for key in ("interval", "curvature_interval") if key in known})
    state = link.init(case.params)
    for number in range(3):
        case.inputs = torch.randn(case.inputs.shape, generator=torch.Generator().manual_seed(number)).double()
        batch = case.batch(name)
        before = state
        _, state = link.step(batch.gradients(), state, case.params, hyper, batch)
        for field in state._fields:
            if isinstance(getattr(state, field), list):
                for old, new in zip(getattr(before, field), getattr(state, field), strict=True):
                    assert not torch.equal(old, new), field


@by_name
def test_a_step_changes_nothing_that_it_is_given(name: str) -> None:
    case = grouped()
    batch = case.batch(name)
    link = METHODS[name].link(batch.layers)
    grads = batch.gradients()
    _, state = link.step(grads, link.init(case.params), case.params, options(name), batch)
    given = [*grads, *_leaves(state)]
    copies = [tensor.clone() for tensor in given]
    again = [link.step(grads, state, case.params, options(name), case.batch(name))[0] for _ in range(2)]
    for tensor, copy in zip(given, copies, strict=True):
        assert torch.equal(tensor, copy)
    for first, second in zip(*again, strict=True):
        assert torch.equal(first, second)


def _leaves(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else [leaf for part in state for leaf in _leaves(part)]


@by_name
def test_nonsense_of_one_member_is_counted_and_is_its_own_affair(name: str) -> None:
    params, batch, alone = stacked_mlp(MEMBERS, padded=False)
    link = METHODS[name].link(alone[0].layers)
    hyper = stacked_options([_options(name, member) for member in range(MEMBERS)])
    state = stack([link.init([param[place] for param in params]) for place in range(MEMBERS)])
    _, state = link.step(batch.gradients(), state, params, hyper, batch)
    sound = batch.gradients()
    broken = [param.clone() for param in params]
    broken[0][0, 0, 0] = torch.nan
    hyper |= {"interval": torch.ones(MEMBERS), "curvature_interval": torch.ones(MEMBERS)}
    found, after = link.step(sound, state, params, hyper, batch.moved(broken))
    assert after.skipped.tolist() == [1, 0, 0]
    wanted, _ = link.step(sound, state, params, hyper, batch)
    for new, own, grad in zip(found, wanted, sound, strict=True):
        assert torch.equal(new[1:], own[1:])
        assert bool(new[0].isfinite().all())
        assert torch.equal(new[0], grad[0]) == (name not in KEPT)
    for old, new in zip(_lists(state), _lists(after), strict=True):
        torch.testing.assert_close(new[0], old[0])


def _lists(state: Any) -> list[Tensor]:
    return [tensor for part in state if isinstance(part, list) for tensor in part]


@by_name
def test_steps_stay_within_the_region(name: str) -> None:
    case, limit = mlp(), 1e-4
    grads = flat(case.batch().gradients())
    free, held = flat(step(name, case, lr=0.5)), flat(step(name, case, kl_clip=limit, lr=0.5))
    assert 0.25 * float(free @ grads) > limit
    # Of a step that is s times as long the divergence is s^2 times as large.
    assert 0.25 * float(free @ grads) * float(held.norm() / free.norm()) ** 2 == pytest.approx(limit, rel=1e-6)
    torch.testing.assert_close(held / held.norm(), free / free.norm())


@by_name
def test_a_network_without_known_layers_keeps_its_gradients(name: str) -> None:
    shift = nn.Parameter(torch.ones(3))

    def closure() -> tuple[Tensor, Tensor]:
        outputs = (shift**2).expand(4, 3)
        return F.cross_entropy(outputs, torch.tensor([0, 1, 2, 2])), outputs

    (plain,) = torch.autograd.grad(closure()[0], shift)
    with pytest.warns(UserWarning, match="leaves these gradients as they are"):
        Preconditioner([shift], name).backward(closure)
    assert torch.equal(torch.as_tensor(shift.grad), plain)


@by_name
def test_it_trains_digits_alone_and_in_a_lane(name: str) -> None:
    goal = objective(data="digits", network={"kind": "mlp", "hidden": [16]}, epochs=2)
    given = recipes.prepare(goal, {"optimizer": name, "batch_size": 64})
    watches = [Recorder() for _ in range(3)]
    runs = [
        loop.start(given.network, given.data, given.plan, seed=seed, watch=watch)
        for seed, watch in zip((1, 1, 2), watches, strict=True)
    ]
    loop.train(given.network, given.data, given.plan, seed=1, watch=watches[0])
    lane = Lane(given.network, given.data)
    lane.join(runs[1:])
    while lane.runs:
        lane.advance()
    alone, *members = [[values["train_loss"] for _, values in watch.seen] for watch in watches]
    assert alone[-1] < 0.5 * runs[0].state.initial
    assert members[0][0] == pytest.approx(alone[0], rel=1e-3)
    assert members[1][-1] < 0.5 * runs[2].state.initial
