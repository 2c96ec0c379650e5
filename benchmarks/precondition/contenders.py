"""Who takes steps: our methods and what pip can install of their peers, each as a function of a mini-batch.

A step is a whole one: forward, backward, preconditioning, and SGD with momentum along the result where the peer does not
step by itself. Peers that are not installed are left out by name: `pip install pytorch-optimizer heavyball`, and
`pip install --pre asdfghjkl` (ASDL). heavyball compiles its steps for minutes and takes part in `--full` alone.
"""

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim.build import build
from optim.catalog import optimizer_info
from optim.precondition.interface import Preconditioner

Step: TypeAlias = Callable[[Tensor, Tensor], None]
Maker: TypeAlias = Callable[[nn.Module, int], Step]
LR, MOMENTUM, DAMPING = 1e-3, 0.9, 1e-3


def ours(method: str) -> Maker:
    """Return our method by its name, with both intervals alike where it has them."""

    def make(model: nn.Module, interval: int) -> Step:
        stepping = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
        options: dict[str, Any] = _intervals(method, interval)
        precondition = Preconditioner(model, method, **options)

        def step(inputs: Tensor, targets: Tensor) -> None:
            def closure() -> tuple[Tensor, Tensor]:
                outputs = model(inputs)
                return F.cross_entropy(outputs, targets), outputs

            precondition.backward(closure, lr=LR)
            stepping.step()

        return step

    return make


def our_rule(name: str, option: str) -> Maker:
    """Return a rule of ours that is given gradients alone."""

    def make(model: nn.Module, interval: int) -> Step:
        options: dict[str, Any] = {option: interval}
        return _stepped(model, build(name, model.parameters(), lr=LR, **options))

    return make


def sgd(model: nn.Module, interval: int) -> Step:
    """Return plain SGD with momentum, to which all are compared."""
    del interval
    return _stepped(model, torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM))


def asdl(maker: str, **given: Any) -> Maker:  # noqa: ANN401 - as ASDL takes it
    """Return a gradient maker of ASDL."""

    def make(model: nn.Module, interval: int) -> Step:
        library = import_module("asdl")
        config = library.PreconditioningConfig(
            data_size=1, damping=DAMPING, preconditioner_upd_interval=interval, curvature_upd_interval=interval
        )
        gradients = getattr(library, maker)(model, config, **given)
        stepping = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

        def step(inputs: Tensor, targets: Tensor) -> None:
            stepping.zero_grad()
            found = gradients.setup_model_call(model, inputs)
            gradients.setup_loss_call(F.cross_entropy, found, targets)
            gradients.forward_and_backward()
            stepping.step()

        return step

    return make


def package(name: str, kind: str, options: Callable[[int], Mapping[str, Any]]) -> Maker:
    """Return an optimizer of a package; `options(interval)` are its own names for how often it works."""

    def make(model: nn.Module, interval: int) -> Step:
        return _stepped(model, getattr(import_module(name), kind)(model.parameters(), lr=LR, **options(interval)))

    return make


def _stepped(model: nn.Module, optimizer: torch.optim.Optimizer) -> Step:
    def step(inputs: Tensor, targets: Tensor) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(inputs), targets))
        optimizer.step()

    return step


def _intervals(method: str, interval: int) -> dict[str, int]:
    """Return both intervals where the method has them."""
    own = {option.name for option in optimizer_info(method).options}
    return {name: interval for name in ("interval", "curvature_interval") if name in own}


# Ours by name, each with its peers: those that compute the same kind of preconditioner.
FAMILIES: Mapping[str, Mapping[str, Maker]] = {
    "kfac": {"ours": ours("kfac"), "ASDL": asdl("KfacGradientMaker")},
    "skfac": {"ours": ours("skfac"), "ASDL": asdl("KfacGradientMaker", swift=True)},
    "ngd_unit": {"ours": ours("ngd_unit"), "ASDL": asdl("UnitWiseNaturalGradientMaker")},
    "ngd_diagonal": {"ours": ours("ngd_diagonal"), "ASDL": asdl("DiagNaturalGradientMaker")},
    "smw_ngd": {"ours": ours("smw_ngd"), "ASDL": asdl("SmwEmpNaturalGradientMaker")},
    "seng": {"ours": ours("seng"), "ASDL": asdl("SengGradientMaker")},
    "kbfgs": {"ours": ours("kbfgs"), "ASDL": asdl("KronBfgsGradientMaker")},
    "shampoo": {
        "ours": ours("shampoo"),
        "ASDL": asdl("ShampooGradientMaker"),
        "pytorch-optimizer": package(
            "pytorch_optimizer",
            "ScalableShampoo",
            lambda interval: {
                "start_preconditioning_step": 1,
                "preconditioning_compute_steps": interval,
                "statistics_compute_steps": interval,
            },
        ),
    },
    "psgd": {
        "ours": ours("psgd"),
        "ASDL": asdl("KronPsgdGradientMaker"),
        "pytorch-optimizer": package(
            "pytorch_optimizer", "Kron", lambda interval: {"pre_conditioner_update_probability": 1 / interval}
        ),
        "heavyball": package(
            "heavyball", "PSGDKron", lambda interval: {"preconditioner_update_probability": 1 / interval}
        ),
    },
    "soap": {
        "ours": our_rule("soap", "precondition_frequency"),
        "pytorch-optimizer": package(
            "pytorch_optimizer", "SOAP", lambda interval: {"precondition_frequency": interval}
        ),
        "heavyball": package("heavyball", "SOAP", lambda interval: {"precondition_frequency": interval}),
    },
}
COMPILED = ("heavyball",)
_MODULES = {"ASDL": "asdl", "pytorch-optimizer": "pytorch_optimizer", "heavyball": "heavyball"}


def missing() -> list[str]:
    """Return the peers that are not installed here."""
    return [name for name, module in _MODULES.items() if find_spec(module) is None]


def tried(make: Maker, model: nn.Module, interval: int, inputs: Tensor, targets: Tensor) -> Step | None:
    """Return a contender that has taken two steps; None for one that breaks on them."""
    warnings.filterwarnings("ignore", module="torch|asdl|heavyball")
    with suppress(Exception):  # whatever a peer raises, it has no figure
        step = make(model, interval)
        for _ in range(2):
            step(inputs, targets)
        return step
    return None


def known(family: str, *, compiled: bool = True) -> dict[str, Maker]:
    """Return the contenders of a family whose packages are here, without those that compile for minutes if so asked."""
    absent = {*missing(), *(() if compiled else COMPILED)}
    return {name: make for name, make in FAMILIES[family].items() if name not in absent}
