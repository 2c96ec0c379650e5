"""Trained runs to look back at, and how to hear all that a use of curvature finds."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from training import loop
from training.course import Run
from training.data.bundled import load
from training.data.examples import Data, Examples, InMemory
from training.networks.base import Network
from training.networks.table import build_network
from training.plan import plan_of
from training.posthoc.trained import Trained, trained
from training.watch import Nobody

T = TypeVar("T")
MLP = {"kind": "mlp", "hidden": [6], "activation": "tanh"}


def found(pieces: Generator[None, None, T]) -> T:
    """Do all pieces; return what they return."""
    while True:
        try:
            next(pieces)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def few(name: str, count: int) -> Data:
    """Return the first so many examples of either part, in float64."""

    def some(examples: Examples) -> InMemory:
        inputs, targets = examples.rows(torch.arange(min(count, len(examples))))
        inputs = inputs.double() if inputs.is_floating_point() else inputs
        return InMemory(inputs, targets.double() if targets.is_floating_point() else targets)

    data = load(name)
    return replace(data, train=some(data.train), val=some(data.val))


def double(network: Network) -> Network:
    return replace(network, init=lambda generator: [param.double() for param in network.init(generator)])


def run_of(data: Data, network: Network, params: dict[str, Any], *, epochs: int, seed: int = 1) -> Run:
    """Return a run that has trained its last batch, and is to look back."""
    plan = replace(plan_of({"epochs": epochs}, params), curvature={"saliency": {}})
    run = loop.start(network, data, plan, seed=seed, watch=Nobody())
    while not run.looks_back:
        assert loop.step(run) is None
    return run


def small(name: str = "iris", network: dict[str, Any] = MLP, count: int = 20, **params: Any) -> Trained:
    """Return a small run in float64."""
    data = few(name, count)
    given = {"optimizer": "momentum", "lr": 0.05, "batch_size": 8, **params}
    return trained(run_of(data, double(build_network(network, data)), given, epochs=3))


def jacobian(run: Trained, inputs: Tensor) -> Tensor:
    """Return the slopes of outputs by all parameters, flattened one after the other: (n, k, D)."""

    def apply(*params: Tensor) -> Tensor:
        return run.course.network.apply(params, inputs)

    parts = torch.autograd.functional.jacobian(apply, tuple(param.detach() for param in run.params))  # type: ignore[no-untyped-call]
    return torch.cat([part.flatten(2) for part in parts], dim=2)
