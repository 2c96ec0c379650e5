"""A stacked population of any rule takes the steps of its members run alone, whatever they differ in."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from optim import catalog
from optim.build import build_rule
from optim.links import clip
from optim.transform import chain
from tests.optim.populations import REACHES, apart, spread, task, together
from tests.support.optimizers import STEPPED

MEMBERS = 64
FEW = 12
MATRIX = {"muon", "soap", "shampoo"}
NAMES = STEPPED
SHARES = {"momentum", "alpha"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On tensors this small, threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def hyper(name: str, members: int, *, everything: bool) -> dict[str, Tensor]:
    """Return options that differ from member to member: all, or the rate and the weights of the past."""
    values = {}
    for option in catalog.OPTIMIZERS[name].options:
        varied = everything or option.name == "lr" or option.scale == "reverse_log" or option.name in SHARES
        default = torch.full((members,), option.number(option.default), dtype=torch.float64)  # type: ignore[arg-type]
        values[option.name] = spread(name, option, members) if varied else default
    # What bfloat16 rounds to hangs on the last bit of what it is given: it has a test of its own
    return {key: torch.zeros_like(value) if key == "bfloat16" else value for key, value in values.items()}


@pytest.mark.parametrize("name", NAMES)
def test_members_differ_in_rate_momentum_schedule_and_data(name: str) -> None:
    absolute, relative = apart(build_rule(name), task(MEMBERS), hyper(name, MEMBERS, everything=False))
    assert (relative <= 1e-6) if name in MATRIX else (absolute <= 1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_members_differ_in_every_option_and_in_clipping(name: str) -> None:
    links = chain(clip.by_value, clip.by_norm, clip.by_layer, build_rule(name))
    options = hyper(name, FEW, everything=True)
    for place, bound in enumerate(("clip_value", "clip_norm", "clip_layer_norm")):
        options[bound] = torch.linspace(*REACHES[bound], FEW, dtype=torch.float64).roll(5 * place)
    absolute, relative = apart(links, task(FEW), options)
    assert (relative <= 1e-6) if name in MATRIX else (absolute <= 1e-10)


def test_muon_in_bfloat16_stays_near() -> None:
    """Half of the members round to 8 bits: a last bit that differs may then move a step by a part in a few hundred."""
    options = hyper("muon", FEW, everything=False)
    options["bfloat16"] = (torch.arange(FEW) % 2).double()
    _, relative = apart(build_rule("muon"), task(FEW), options)
    assert relative <= 1e-3


@pytest.mark.parametrize("name", [name for name in NAMES if build_rule(name).view is not None])
def test_views_are_not_what_is_trained(name: str) -> None:
    """That they equal the views of members run alone, the tests above have seen."""
    end = together(build_rule(name), task(FEW), hyper(name, FEW, everything=False))
    assert all((x - y).abs().max() > 1e-6 for x, y in zip(end.trained, end.evaluated, strict=True))


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize(("name", "bfloat16"), [*((name, False) for name in NAMES), ("muon", True)])
def test_a_member_that_breaks_leaves_the_others_as_they_are(name: str, first: int, *, bfloat16: bool) -> None:
    broken, members = 1, 4

    def spoil(step: int, grads: list[Tensor]) -> list[Tensor]:
        mask = torch.zeros(members, dtype=torch.bool)
        mask[broken] = step >= first
        return [grad.masked_fill(mask.reshape(-1, *[1] * (grad.ndim - 1)), torch.nan) for grad in grads]

    options = hyper(name, members, everything=False)
    if name == "muon":
        options["bfloat16"] = torch.full((members,), float(bfloat16), dtype=torch.float64)
    rule, whole = build_rule(name), task(members)
    sound, spoiled = together(rule, whole, options), together(rule, whole, options, spoil=spoil)
    for wanted, got in zip([*sound.trained, *sound.evaluated], [*spoiled.trained, *spoiled.evaluated], strict=True):
        others = [member for member in range(members) if member != broken]
        assert torch.equal(wanted[others], got[others])
        assert not bool(got[broken].isfinite().any())
