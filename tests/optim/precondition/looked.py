"""A small network of two linear layers and its mini-batches as methods ask about them, alone and of stacked members."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

from optim import catalog
from optim.precondition.batch import Batch, Pass
from optim.precondition.criteria import criterion
from optim.precondition.extension.tape import Tape
from optim.precondition.layers import Layer
from optim.transform import Hyper, Rule, Tensors, stack
from training.networks.dense import apply_dense

LAYERS = (Layer("linear", 0, 1), Layer("linear", 2, 3))
_SHAPES = (4, 3), (4,), (3, 4), (3,)
EXAMPLES = 8


def start(member: int = 0) -> list[Tensor]:
    """Return parameters (...) of a member's own."""
    random = torch.Generator().manual_seed(member)
    return [torch.randn(shape, generator=random, dtype=torch.float64) / 2 for shape in _SHAPES]


def examples(step: int, member: int = 0) -> tuple[Tensor, Tensor]:
    """Return the inputs (n, 3) and classes (n,) of a member's mini-batch."""
    random = torch.Generator().manual_seed(1000 * member + step + 1)
    inputs = torch.randn(EXAMPLES, 3, generator=random, dtype=torch.float64)
    return inputs, (inputs + 0.3).argmax(dim=-1)


def look(params: Tensors, inputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Batch:
    """Return a mini-batch of one model, or of members where all that is given is stacked."""
    shares = torch.full(targets.shape, 1 / targets.shape[-1], dtype=torch.float64) if weights is None else weights

    def run(moved: Tensors) -> Pass:
        with Tape(moved) as tape:
            outputs = apply_dense(list(moved), inputs, torch.tanh)
        losses = F.cross_entropy(outputs.reshape(-1, 3), targets.flatten(), reduction="none").reshape(targets.shape)
        return Pass((losses * shares).sum(), outputs, tape.calls)

    leaves = [param.detach().clone().requires_grad_() for param in params]
    return Batch(run, leaves, LAYERS, criterion("cross_entropy"), shares)


def hyper(name: str, **options: Any) -> dict[str, Tensor]:
    """Return every option of an optimizer of the catalog as its rule gets it."""
    info = catalog.optimizer_info(name)
    known = catalog.by_name(info.options)
    values = {option: known[option].number(value) for option, value in catalog.complete(info, options).items()}
    return {option: torch.tensor(value, dtype=torch.float64) for option, value in values.items()}


def alone(rule: Rule[Any], options: Hyper, steps: int, member: int = 0) -> tuple[list[Tensor], list[Any]]:
    """Descend along preconditioned gradients; return the parameters and the states, of which the first is the start."""
    params = start(member)
    states = [rule.init(params)]
    for step in range(steps):
        batch = look(params, *examples(step, member))
        found, state = rule.step(batch.gradients(), states[-1], params, options, batch)
        params = [param - options["lr"] * each for param, each in zip(params, found, strict=True)]
        states.append(state)
    return params, states


def together(rule: Rule[Any], options: Sequence[Hyper], steps: int) -> tuple[list[Tensor], Any]:
    """Do the same with a member for each of the options; return parameters (P, ...) and the last state."""
    members = range(len(options))
    params = [torch.stack(parts) for parts in zip(*map(start, members), strict=True)]
    state = stack([rule.init(start(member)) for member in members])
    whole = {name: torch.stack([own[name] for own in options]) for name in options[0]}
    for step in range(steps):
        given = [examples(step, member) for member in members]
        batch = look(params, *(torch.stack(parts) for parts in zip(*given, strict=True)))
        found, state = rule.step(batch.gradients(), state, params, whole, batch)
        params = [
            param - whole["lr"].reshape(-1, *[1] * (param.ndim - 1)) * each
            for param, each in zip(params, found, strict=True)
        ]
    return params, state
