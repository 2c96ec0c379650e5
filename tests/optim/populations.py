"""A population of small networks whose members differ in options, schedules and data, and its members run alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from optim import catalog
from optim.schedules import schedule
from optim.transform import Rule, stack

STEPS = 32
BATCH = 8
_SHAPES = (4, 3), (4,), (1, 4), (1,)

Hyper: TypeAlias = Mapping[str, Tensor]

# Rates at which a run of STEPS steps does not blow rounding up, where AdamW's would be too high or too low.
RATES: Mapping[str, tuple[float, float]] = {
    "sgd": (1e-3, 0.1),
    "momentum": (1e-3, 0.03),
    "momentum_ema": (1e-3, 0.1),
    "nesterov": (1e-3, 0.03),
    "adagrad": (1e-3, 0.1),
    "adadelta": (0.1, 3.0),
    "lion": (1e-4, 3e-3),
    "schedule_free_sgd": (1e-3, 0.1),
    "prodigy": (0.3, 1.0),
}
# Options that have no search range: where members lie between.
REACHES: Mapping[str, tuple[float, float]] = {
    "lr_decay": (0.0, 0.1),
    "beta3": (0.0, 0.99),
    "d0": (1e-4, 1e-2),
    "growth_rate": (0.0, 3.0),
    "slow_warmup": (0, STEPS),
    "ns_steps": (2, 7),
    "eps": (1e-7, 0.1),
    "max_dim": (1, 5),
    "precondition_frequency": (1, 12),
    "shampoo_beta": (0.0, 0.99),
    "block_size": (1, 5),
    "interval": (1, 6),
    "curvature_interval": (1, 6),
    "interval_warmup": (0, 8),
    "interval_ramp": (0, STEPS),
    "interval_warmup_share": (0.0, 1.0),
    "interval_ramp_share": (0.0, 1.0),
    "eps1": (0.0, 1e-3),
    "eps2": (1e-4, 1e-2),
    "d": (0.5, 2.0),
    "beta2_decay": (-1.0, -0.5),
    "clip_value": (0.0, 0.5),
    "clip_norm": (0.0, 1.0),
    "clip_layer_norm": (0.0, 0.5),
}
_LINEAR = {"beta3", "growth_rate", "shampoo_beta", "max_dim", "precondition_frequency", "weight_decay", "block_size"}


class Task(NamedTuple):
    """What members train on: starts, one tensor (P, ...) for each parameter; batches (P, STEPS, BATCH, ...)."""

    params: list[Tensor]
    inputs: Tensor
    targets: Tensor

    def of(self, member: int) -> "Task":
        return Task([param[member] for param in self.params], self.inputs[member], self.targets[member])


class End(NamedTuple):
    """Parameters after the last step, and those to evaluate."""

    trained: list[Tensor]
    evaluated: list[Tensor]


def task(members: int) -> Task:
    """Make starts and orders of data that are each member's own."""
    random = torch.Generator().manual_seed(1)
    params = [torch.randn(members, *shape, generator=random, dtype=torch.float64) / 2 for shape in _SHAPES]
    inputs = torch.randn(64, 3, generator=random, dtype=torch.float64)
    targets = torch.sin(inputs.sum(dim=1, keepdim=True))
    order = torch.randint(64, (members, STEPS, BATCH), generator=random)
    return Task(params, inputs[order], targets[order])


def gradients(params: Sequence[Tensor], inputs: Tensor, targets: Tensor) -> list[Tensor]:
    """Return the gradients of the mean squared error of one network, or of each of a stack."""
    w1, b1, w2, b2 = params
    hidden = torch.tanh(inputs @ w1.mT + b1.unsqueeze(-2))
    error = (hidden @ w2.mT + b2.unsqueeze(-2) - targets) * (2 / BATCH)
    below = (error @ w2) * (1 - hidden**2)
    return [below.mT @ inputs, below.sum(dim=-2), error.mT @ hidden, error.sum(dim=-2)]


def spread(name: str, option: catalog.Option, members: int) -> Tensor:
    """Return a value of the option for each member: across its search range, switches and choices in turn."""
    order = torch.randperm(members, generator=torch.Generator().manual_seed(len(option.name)))
    if option.kind in {"bool", "choice"}:
        return (order % (len(option.choices) or 2)).double()
    low, high = _ends(name, option)
    even = torch.linspace(0, 1, members, dtype=torch.float64)[order]
    if option.name in _LINEAR or low <= 0:
        values = low + (high - low) * even
    elif option.scale == "reverse_log":
        values = 1 - (1 - low) * ((1 - high) / (1 - low)) ** even
    else:
        values = low * (high / low) ** even
    return values.round() if option.kind == "int" else values


def _ends(name: str, option: catalog.Option) -> tuple[float, float]:
    if option.name == "lr":
        return RATES.get(name, (1e-4, 1e-2))
    if option.name == "weight_decay":
        return 0.0, 0.1
    if option.name in REACHES and (option.search_low is None or option.kind == "int"):
        return REACHES[option.name]
    assert option.search_low is not None, f"{name}.{option.name}: say in REACHES where members lie"
    assert option.search_high is not None
    return option.search_low, option.search_high


def factors(members: int) -> Tensor:
    """Return the factor on each member's rate at each step, (STEPS, members): every schedule, many warm-ups."""
    table = torch.empty(STEPS, members, dtype=torch.float64)
    steps = torch.arange(STEPS).unsqueeze(1)
    for name, own in _schedules(members).items():
        info, places = catalog.SCHEDULES[name], torch.tensor(own)
        options = {option.name: spread(name, option, members)[places] for option in info.options if _numeric(option)}
        table[:, places] = schedule(name, total_steps=STEPS, warmup=warmups(members)[places], **options)(steps)
    return table


def factors_of(member: int, members: int) -> Tensor:
    """Return the same for one member, (STEPS,), by a schedule of its own."""
    name = next(name for name, own in _schedules(members).items() if member in own)
    options = {
        option.name: spread(name, option, members)[member].item()
        for option in catalog.SCHEDULES[name].options
        if _numeric(option)
    }
    own = schedule(name, total_steps=STEPS, warmup=warmups(members)[member].item(), **options)
    return own(torch.arange(STEPS))


def warmups(members: int) -> Tensor:
    return torch.linspace(0, 0.5, 7, dtype=torch.float64)[torch.arange(members) % 7]


def _numeric(option: catalog.Option) -> bool:
    return option.kind == "float" and option.search_low is not None


def _schedules(members: int) -> dict[str, list[int]]:
    names = list(catalog.SCHEDULES)
    return {name: list(range(members))[place :: len(names)] for place, name in enumerate(names) if place < members}


def run(
    rule: Rule[Any],
    state: object,
    own: Task,
    hyper: Hyper,
    rates: Tensor,
    spoil: Callable[[int, list[Tensor]], list[Tensor]] = lambda _step, grads: grads,
) -> End:
    """Train one network, or a stack of them: `rates` are the factors on the rate of each step, (STEPS, ...)."""
    params = own.params
    now = dict(hyper)
    steps = own.inputs.ndim - 3
    for step in range(STEPS):
        now["lr"] = hyper["lr"] * rates[step]
        inputs, targets = own.inputs.select(steps, step), own.targets.select(steps, step)
        updates, state = rule.update(spoil(step, gradients(params, inputs, targets)), state, params, now)
        params = [param + update for param, update in zip(params, updates, strict=True)]
    return End(params, rule.evaluated(params, state, now))


def together(rule: Rule[Any], own: Task, hyper: Hyper, **spoiled: Any) -> End:
    members = len(own.inputs)
    state = stack([rule.init([param[member] for param in own.params]) for member in range(members)])
    return run(rule, state, own, hyper, factors(members), **spoiled)


def alone(rule: Rule[Any], whole: Task, hyper: Hyper, member: int) -> End:
    own = whole.of(member)
    options = {name: values[member] for name, values in hyper.items()}
    return run(rule, rule.init(own.params), own, options, factors_of(member, len(whole.inputs)))


def apart(rule: Rule[Any], whole: Task, hyper: Hyper) -> tuple[float, float]:
    """Run all members together and each alone; return their largest difference, absolute and relative to the largest."""
    end = together(rule, whole, hyper)
    worst, size = 0.0, 0.0
    for member in range(len(whole.inputs)):
        own = alone(rule, whole, hyper, member)
        for stacked, single in zip([*end.trained, *end.evaluated], [*own.trained, *own.evaluated], strict=True):
            assert bool(single.isfinite().all())
            worst = max(worst, (stacked[member] - single).abs().max().item())
            size = max(size, single.abs().max().item())
    return worst, worst / size
