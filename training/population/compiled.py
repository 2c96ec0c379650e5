"""Lanes of dense networks on a CPU, stepped by compiled loops: the same steps, without the price of calls for small members."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.compiled.kernels import RELU, TANH, evaluate, train
from training.compiled.moves import MOVES, Moves, still
from training.data.examples import Data, Examples, InMemory
from training.monitors import READINGS
from training.networks.base import Network
from training.population.programs import Program, Taken
from training.population.stacked import StackedProgram
from training.population.stacks import Crew, Shapes, Stacks
from training.population.strides import Stride
from training.tasks import CLASSIFICATION, REGRESSION

# The activation, inputs, labels, values.
Given: TypeAlias = tuple[int, NDArray[Any], NDArray[np.int64], NDArray[Any]]
_ACTIVATIONS = {"relu": RELU, "tanh": TANH}
_TASKS = (CLASSIFICATION, REGRESSION)


def program_for(network: Network, data: Data) -> Program:
    """Return the fastest program that there is for this network on these data, which are on the device to train on."""
    in_memory = isinstance(data.train, InMemory) and isinstance(data.val, InMemory)
    compiled = network.activation in _ACTIVATIONS and in_memory and data.task in _TASKS
    if compiled and data.train.rows(torch.arange(1))[0].device.type == "cpu":
        return CompiledProgram(network, data)
    return StackedProgram(network, data)


class CompiledProgram:
    """Takes whole strides of members whose optimizer is compiled too; of the others the gradients, step by step."""

    def __init__(self, network: Network, data: Data) -> None:
        """Read the examples where they lie. Raise TypeError unless they are in memory and the network is dense layers alone."""
        if network.activation is None:
            raise TypeError("compiled steps are for dense layers alone")
        self._activation = _ACTIVATIONS[network.activation]
        self._train, self._val = _arrays(data.train), _arrays(data.val)
        self._measures = ("loss", *data.task.measures)

    @torch.no_grad()
    def step(self, stacks: Stacks, stride: Stride, due: NDArray[np.bool_], taken: Taken, *, threads: int) -> None:
        """Whoever may fail goes first: the others then take as many steps."""
        found = _Pass((self._activation, *self._train), stacks, stride, due, threads)
        others = [each for each in stacks.places if not each[0].steps_in_place]
        reached = 0 if others else stride.steps
        try:
            for step in range(stride.steps if others else 0):
                _propose(found, others, step)
                reached += 1
        finally:
            for crew, part in stacks.places:
                if crew.steps_in_place:
                    rates = stride.rates[:reached, part]
                    moves = MOVES[crew.optimizer](stacks.rows[part], crew.state, crew.hyper, rates)
                    found.run(part, moves, slice(reached))
            taken.losses.extend(torch.from_numpy(found.losses[:reached]))
            seen = np.flatnonzero(due[:reached].any(axis=1))
            taken.looks.extend((torch.from_numpy(found.readings[step]), due[step]) for step in seen)

    def evaluate(self, rows: Tensor, shapes: Shapes) -> list[dict[str, float]]:
        found = np.empty((len(rows), len(self._measures)))
        evaluate(_widths(shapes), self._activation, *self._val, rows.detach().numpy(), 0, len(rows), found)
        return [dict(zip(self._measures, each, strict=True)) for each in found.tolist()]


def _arrays(examples: Examples) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[Any]]:
    """Return inputs (n, features), labels and values (n,), whichever of the two there are."""
    if not isinstance(examples, InMemory):
        raise TypeError("compiled steps are for examples in memory")
    inputs, targets = examples.inputs.reshape(len(examples), -1).contiguous().numpy(), examples.targets.numpy()
    if np.issubdtype(targets.dtype, np.integer):
        return inputs, targets, np.empty(0, inputs.dtype)
    return inputs, np.empty(0, np.int64), targets


def _widths(shapes: Shapes) -> NDArray[np.int64]:
    """Return the widths of layers whose weights and biases have these shapes, from the inputs to the outputs."""
    weights = shapes[::2]
    return np.array([weights[0][1], *(shape[0] for shape in weights)])


class _Pass:
    """A stride while it is taken: what all members share of it, and what is seen, losses (steps, P) and readings."""

    def __init__(self, examples: Given, stacks: Stacks, stride: Stride, due: NDArray[np.bool_], threads: int) -> None:
        self.stacks, self.stride, self.due = stacks, stride, due
        self.losses = np.empty((stride.steps, len(stacks.rows)))
        self.readings = np.zeros((*self.losses.shape, READINGS))
        self._given = (_widths(stacks.shapes), *examples)
        self._threads = threads

    def run(self, part: slice, moves: Moves, steps: slice) -> None:
        """Take these steps of the members of a part."""
        numbers, counts = self.stride.numbers.numpy()[steps], self.stride.counts.numpy()
        rows, grads = self.stacks.rows.detach().numpy(), self.stacks.grads.numpy()
        written = self.due[steps], self.losses[steps], self.readings[steps]

        def some(begin: int, end: int) -> None:
            train(*self._given, numbers, counts, rows, grads, moves, begin, end, part.start, *written)

        ends = np.linspace(part.start, part.stop, self._threads + 1).astype(int).tolist()
        if self._threads == 1:
            some(*ends)
            return
        with ThreadPoolExecutor(self._threads) as pool:
            list(pool.map(some, ends[:-1], ends[1:]))


def _propose(found: _Pass, crews: Sequence[tuple[Crew, slice]], step: int) -> None:
    """Take a step of crews whose rules are tensor operations: all of them, or none."""
    stacks, now = found.stacks, slice(step, step + 1)
    for _, part in crews:
        found.run(part, still(stacks.rows[part], 1), now)
    rates = found.stride.rates[step]
    proposed = [crew.propose(stacks.rows[part], stacks.grads[part], rates[part], stacks.shapes) for crew, part in crews]
    for (crew, part), (updates, state) in zip(crews, proposed, strict=True):
        if found.due[step].any():
            sizes = torch.linalg.vector_norm(stacks.rows[part], dim=1)
            change = torch.linalg.vector_norm(updates, dim=1)
            found.readings[step, part, 1] = torch.where(sizes > 0, change / sizes, 0.0)
        stacks.rows[part].add_(updates)
        crew.state = state
