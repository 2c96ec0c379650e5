"""What each rule is compared with: torch's optimizer of that name, or an obvious one, under several sets of options.

Everything runs in float64, but for the counters of torch's that take the default dtype.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

Options: TypeAlias = Mapping[str, Any]
Peer: TypeAlias = Callable[[list[Tensor], dict[str, Any]], torch.optim.Optimizer]
Loss: TypeAlias = Callable[[], Tensor]
Problem: TypeAlias = Callable[[], tuple[list[Tensor], Loss]]


class UncorrectedAdam(torch.optim.Optimizer):
    """Adam without bias correction, written out."""

    def __init__(self, params: list[Tensor], **options: Any) -> None:
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for param in group["params"]:
                state = self.state[param]
                grad = param.grad + group["weight_decay"] * param
                state["v"] = beta1 * state.get("v", 0.0) + (1 - beta1) * grad
                state["s"] = beta2 * state.get("s", 0.0) + (1 - beta2) * grad**2
                param.sub_(group["lr"] * state["v"] / (torch.sqrt(state["s"]) + group["eps"]))


def _torch(kind: Callable[..., torch.optim.Optimizer], **fixed: object) -> Peer:
    """Return a peer that is torch's class with our options under torch's names, and `fixed` ones."""

    def make(params: list[Tensor], options: dict[str, Any]) -> torch.optim.Optimizer:
        theirs = dict(options)
        if "beta1" in theirs:
            theirs["betas"] = (theirs.pop("beta1"), theirs.pop("beta2"))
        if "eps1" in theirs:
            theirs["eps"] = (theirs.pop("eps1") or None, theirs.pop("eps2"))
        return kind(params, **theirs, **fixed)

    return make


def _adam(params: list[Tensor], options: dict[str, Any]) -> torch.optim.Optimizer:
    corrected = options.pop("bias_correction")
    return _torch(torch.optim.Adam if corrected else UncorrectedAdam)(params, options)


def _momentum_ema(params: list[Tensor], options: dict[str, Any]) -> torch.optim.Optimizer:
    return _torch(torch.optim.SGD)(params, {**options, "lr": options["lr"] * (1 - options["momentum"])})


# Each takes every option of the catalog's entry.
PEERS: dict[str, Peer] = {
    "sgd": _torch(torch.optim.SGD),
    "momentum": _torch(torch.optim.SGD),
    "momentum_ema": _momentum_ema,
    "nesterov": _torch(torch.optim.SGD, nesterov=True),
    "adagrad": _torch(torch.optim.Adagrad),
    "adadelta": _torch(torch.optim.Adadelta),
    "rmsprop": _torch(torch.optim.RMSprop),
    "adam": _adam,
    "adamw": _torch(torch.optim.AdamW),
    "nadam": _torch(torch.optim.NAdam),
    "nadamw": _torch(torch.optim.NAdam, decoupled_weight_decay=True),
    "radam": _torch(torch.optim.RAdam),
    "adamax": _torch(torch.optim.Adamax),
    "adafactor": _torch(torch.optim.Adafactor),
}

_BETAS = {"beta1": 0.8, "beta2": 0.99, "eps": 1e-4, "weight_decay": 0.1}

# The options are ones under which 300 steps are stable: where a run amplifies differences, rounding alone parts
# torch's own variants from each other.
CASES: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    ("sgd", {"lr": 1e-3, "weight_decay": 0.1}),
    ("momentum", {}),
    ("momentum", {"lr": 2e-4, "momentum": 0.95, "weight_decay": 0.1}),
    ("momentum", {"lr": 1e-3, "momentum": 0.0}),
    ("momentum_ema", {}),
    ("momentum_ema", {"lr": 4e-3, "momentum": 0.95, "weight_decay": 0.1}),
    ("nesterov", {"lr": 5e-4}),
    ("nesterov", {"lr": 5e-4, "momentum": 0.8, "weight_decay": 0.1}),
    ("adagrad", {}),
    ("adagrad", {"lr": 0.3, "lr_decay": 0.01, "initial_accumulator_value": 0.1, "eps": 1e-6, "weight_decay": 0.1}),
    ("adadelta", {"lr": 0.1}),
    ("adadelta", {"lr": 0.2, "rho": 0.95, "eps": 1e-3, "weight_decay": 0.1}),
    ("rmsprop", {"lr": 1e-3}),
    ("rmsprop", {"lr": 1e-3, "alpha": 0.9, "momentum": 0.5, "eps": 1e-2, "weight_decay": 0.1}),
    ("rmsprop", {"lr": 1e-3, "centered": True, "eps": 1e-2}),
    (
        "rmsprop",
        {"lr": 5e-4, "alpha": 0.9, "momentum": 0.5, "eps": 1e-1, "weight_decay": 0.1, "centered": True},
    ),
    ("adam", {}),
    ("adam", {"lr": 5e-3, **_BETAS}),
    ("adam", {"bias_correction": False}),
    ("adam", {"lr": 5e-3, **_BETAS, "bias_correction": False}),
    ("adamw", {}),
    ("adamw", {"lr": 2e-3, **_BETAS, "weight_decay": 0.3}),
    ("nadam", {}),
    ("nadam", {"lr": 5e-3, **_BETAS, "momentum_decay": 0.02}),
    ("nadamw", {}),
    ("nadamw", {"lr": 2e-3, **_BETAS, "weight_decay": 0.3, "momentum_decay": 0.0}),
    ("radam", {}),
    ("radam", {"lr": 5e-3, **_BETAS}),
    ("radam", {"lr": 1e-3, "beta2": 0.5}),  # so short a memory that it never divides
    ("adamax", {}),
    ("adamax", {"lr": 5e-3, **_BETAS}),
    ("adafactor", {"lr": 3e-3}),
    # At this rate 1 / sqrt(step) is the lesser from step 101 on; the large eps1 makes it stable.
    ("adafactor", {"lr": 0.1, "beta2_decay": -0.6, "eps1": 3.0, "eps2": 0.1, "d": 1.5, "weight_decay": 0.1}),
    ("adafactor", {"lr": 0.03, "eps1": 0.1, "eps2": 0.3, "weight_decay": 1.0}),
]
IDS = [f"{name}-{'-'.join(options) or 'defaults'}" for name, options in CASES]


def quadratic(point: Tensor) -> Tensor:
    x, y = point[0], point[1]
    return (x**2 + 100 * y**2) / 2


def beale(point: Tensor) -> Tensor:
    x, y = point[0], point[1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def saddle(point: Tensor) -> Tensor:
    x, y = point[0], point[1]
    return (x**2 - y**2) / 2 + y**4 / 4


def surface(function: Callable[[Tensor], Tensor], *start: float) -> Problem:
    def make() -> tuple[list[Tensor], Loss]:
        point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        return [point], lambda: function(point)

    return make


def network() -> tuple[list[Tensor], Loss]:
    """Return a small network with parameters of no, one, two and three axes, and its loss on one batch."""
    generator = torch.Generator().manual_seed(5)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x, start = drawn(32, 2, 8), [drawn(3, 2, 3) / 2, drawn(3) / 4, drawn(5, 18) / 4, drawn(5) / 4, drawn(1, 5), drawn()]
    y = torch.sin(x.sum(dim=(1, 2)))
    params = [value.requires_grad_() for value in start]
    kernel, shift, weight, bias, last, offset = params

    def loss() -> Tensor:
        hidden = torch.tanh(torch.nn.functional.conv1d(x, kernel, shift)).flatten(1)
        out = torch.tanh(hidden @ weight.mT + bias) @ last.mT
        return (out[:, 0] + offset - y).square().mean()

    return params, loss


PROBLEMS: dict[str, Problem] = {
    "quadratic": surface(quadratic, 3.0, 1.0),
    "beale": surface(beale, 1.0, 1.0),
    "saddle": surface(saddle, 1.0, 1e-3),
    "network": network,
}
