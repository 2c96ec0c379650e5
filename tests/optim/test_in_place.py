"""Steps that overwrite take the steps of their rules; rules that do not ask where a parameter ends step long vectors."""

from typing import Any

import pytest
import torch
from torch import Tensor

from optim import catalog
from optim.build import build_rule
from optim.in_place import IN_PLACE
from optim.precondition.methods import METHODS
from optim.transform import stack

MEMBERS, LENGTH, STEPS, PREPARED = 5, 37, 40, 16
SHAPES = [(3, 4), (5,), (2, 2, 2), (1, 12)]


def hyper(name: str) -> dict[str, Tensor]:
    """Return the options of a population that differs in all that is searched, switches among them."""
    spread = torch.linspace(0.5, 1.0, MEMBERS, dtype=torch.float64)
    values: dict[str, Tensor] = {}
    for option in catalog.OPTIMIZERS[name].options:
        default: Any = option.default
        values[option.name] = torch.full((MEMBERS,), float(default), dtype=torch.float64)
    values["lr"] = 0.1 * spread
    for each in ("momentum", "beta1", "beta2"):
        if each in values:
            values[each] = 0.95 * spread
    values["weight_decay"] = torch.tensor([0.0, 0.1, 0.0, 0.01, 0.3], dtype=torch.float64)
    if "bias_correction" in values:
        values["bias_correction"] = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    return values


@pytest.mark.parametrize("decayed", [True, False])
@pytest.mark.parametrize("name", IN_PLACE)
def test_it_takes_the_steps_of_the_rule(name: str, decayed: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(MEMBERS, LENGTH, generator=generator, dtype=torch.float64)
    rule, options = build_rule(name), hyper(name)
    if not decayed:
        options["weight_decay"] = torch.zeros(MEMBERS, dtype=torch.float64)
    pure, ours, grads = start.clone(), start.clone(), torch.empty_like(start)
    state, own = (stack([rule.init([start[0]]) for _ in range(MEMBERS)]) for _ in range(2))
    rates = options["lr"] * torch.linspace(0.5, 1.0, STEPS, dtype=torch.float64).unsqueeze(-1)
    for number in range(STEPS):
        if number % PREPARED == 0:
            step = IN_PLACE[name](ours, grads, own, options, rates[number : number + PREPARED])
        noise = torch.randn(MEMBERS, LENGTH, generator=generator, dtype=torch.float64)
        (updates,), state = rule.update([pure + noise], state, [pure], options | {"lr": rates[number]})
        pure = pure + updates
        grads.copy_(ours + noise)
        step(number % PREPARED)
    assert not torch.equal(pure, start)
    torch.testing.assert_close(ours, pure, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in catalog.OPTIMIZERS if not build_rule(name).by_tensor])
def test_a_rule_that_is_not_by_tensor_steps_all_as_one_vector(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    rule = build_rule(name)
    options = {
        option.name: torch.tensor(float(option.default), dtype=torch.float64)  # type: ignore[arg-type]
        for option in catalog.OPTIMIZERS[name].options
    }
    parts = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]
    row = torch.cat([part.flatten() for part in parts])
    state, row_state = rule.init(parts), rule.init([row])
    for _ in range(STEPS):
        noise = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]
        updates, state = rule.update(
            [part + each for part, each in zip(parts, noise, strict=True)], state, parts, options
        )
        slope = torch.cat([(part + each).flatten() for part, each in zip(parts, noise, strict=True)])
        (update,), row_state = rule.update([slope], row_state, [row], options)
        parts = [part + change for part, change in zip(parts, updates, strict=True)]
        row = row + update
    torch.testing.assert_close(torch.cat([part.flatten() for part in parts]), row, rtol=1e-10, atol=1e-10)


def test_rules_that_look_at_tensors_say_so() -> None:
    assert {name for name in catalog.OPTIMIZERS if build_rule(name).by_tensor} - set(METHODS) == {
        "muon",
        "soap",
        "adafactor",
    }
