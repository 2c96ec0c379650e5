"""Dense networks on a CPU, stepped by compiled loops: the same steps, without the price of calls for small members.

Members are stepped one after the other, each to the end of its epoch if that does not take too long. So nobody waits for
anyone, whatever the sizes of their batches, and what a stride costs besides its steps is paid once an epoch for all.
"""

import time
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.compiled.kernels import RELU, TANH, Batches, evaluate, scratch, train
from training.compiled.moves import MOVES, Moves, still_moves
from training.course import Run
from training.data.examples import Data, Examples, InMemory
from training.monitors import READINGS, SAMPLED
from training.networks.base import Network
from training.population.panel import Counts
from training.population.programs import STRIDE_SECONDS, Taken
from training.population.stacks import Crew, Shapes, Stacks
from training.tasks import CLASSIFICATION, REGRESSION

# Widths, activation, inputs, labels, values: see `training.compiled.kernels`.
Given: TypeAlias = tuple[Counts, int, NDArray[Any], Counts, NDArray[Any]]
_ACTIVATIONS = {"relu": RELU, "tanh": TANH}
# In larger networks a call costs next to nothing, and one member may want all threads.
MOST_PARAMETERS = 2**20
_TASKS = (CLASSIFICATION, REGRESSION)


def compiles(network: Network, data: Data) -> bool:
    """Say whether there is a compiled program for this network on these data, which are on the device to train on."""
    if network.activation not in _ACTIVATIONS or data.task not in _TASKS:
        return False
    parts = data.train, data.val
    here = all(isinstance(part, InMemory) and part.inputs.device.type == "cpu" for part in parts)
    return here and sum(param.numel() for param in network.init(torch.Generator())) <= MOST_PARAMETERS


class CompiledProgram:
    """Takes whole strides of members whose optimizer is compiled too; of the others the gradients, step by step."""

    choosy = True

    def __init__(self, network: Network, data: Data, *, threads: int = 1) -> None:
        """Read the examples where they lie. Raise TypeError unless they are in memory and the network is dense layers alone."""
        if network.activation is None:
            raise TypeError("compiled steps are for dense layers alone")
        self._activation = _ACTIVATIONS[network.activation]
        self._train, self._val = _arrays(data.train), _arrays(data.val)
        self._measures = ("loss", *data.task.measures)
        self._threads = threads
        # How long one example of one member took in the last stride.
        self._pace: float | None = None

    @torch.no_grad()
    def step(self, stacks: Stacks, still: Container[Run], taken: Taken) -> None:
        """Each crew for itself; in one that is stepped by tensor operations all, or none."""
        began = time.perf_counter()
        taken.counts = np.array([run.course.batch_size for run in stacks.runs])
        network = (_widths(stacks.shapes), self._activation, *self._train)
        stride = _Stride(network, stacks, self._steps(stacks, still, taken.counts), taken, self._threads)
        try:
            for crew, part in stacks.places:
                if crew.steps_in_place:
                    stride.train(crew, part)
                else:
                    stride.propose(crew, part)
        finally:
            taken.looks.append((torch.from_numpy(stride.readings), stride.times(taken.steps)))
        examples = int((taken.steps * taken.counts).sum())
        if examples:
            self._pace = (time.perf_counter() - began) / examples

    def step_seconds(self, members: int, size: int) -> float:
        del members, size
        return 0.0

    def evaluate(self, rows: Tensor, shapes: Shapes) -> list[dict[str, float]]:
        found = np.empty((len(rows), len(self._measures)))
        evaluate(_widths(shapes), self._activation, *self._val, rows.detach().numpy(), found)
        return [dict(zip(self._measures, each, strict=True)) for each in found.tolist()]

    def _steps(self, stacks: Stacks, still: Container[Run], sizes: Counts) -> Counts:
        """Return how many steps each is to take (P,): to the end of its epoch, or as many as there is time for."""
        left: Counts = np.array([0 if run in still else run.course.batches - run.state.batches for run in stacks.runs])
        members = max(1, int(np.count_nonzero(left)))
        examples = 0.0 if self._pace is None else STRIDE_SECONDS / (self._pace * members)
        steps: Counts = np.minimum(left, np.maximum(1, examples // sizes)).astype(int)
        for crew, part in stacks.places:
            if not crew.steps_in_place:
                steps[part] = steps[part].min()
        return steps


class _Stride:
    """A stride while it is taken: the batches of all, what is seen of them, and who has come how far."""

    def __init__(self, network: Given, stacks: Stacks, steps: Counts, taken: Taken, threads: int) -> None:
        self._stacks, self._taken = stacks, taken
        runs = stacks.runs
        before = np.array([run.state.batches for run in runs])
        reaches = zip(runs, before * taken.counts, (before + steps) * taken.counts, strict=True)
        numbers = [run.epoch.numbers.numpy()[first:end] for run, first, end in reaches]
        starts = np.cumsum([0, *(len(each) for each in numbers)])
        taken.lasts = np.diff(starts) - np.maximum(steps - 1, 0) * taken.counts
        self._batches = Batches(np.concatenate(numbers), starts, steps, taken.counts, before)
        self._network = network
        self._rates = torch.zeros(int(steps.max()), len(runs), dtype=torch.float64)
        for place, (run, count) in enumerate(zip(runs, steps.tolist(), strict=True)):
            self._rates[:count, place] = run.epoch.rates[run.state.batches : run.state.batches + count]
        self._losses = np.zeros(tuple(self._rates.shape))
        self.readings = np.zeros((len(runs), READINGS))
        taken.losses.append(torch.from_numpy(self._losses))
        rows = stacks.rows
        self._scratch = [
            scratch(network[0], int(taken.counts.max()), rows.shape[1], rows.detach().numpy().dtype)
            for _ in range(min(threads, len(runs)))
        ]

    def times(self, steps: Counts) -> Counts:
        """Return how often each has looked in so many steps (P,): at every SAMPLED-th batch of its epoch."""
        before = self._batches.taken
        found: Counts = -(-(before + steps) // SAMPLED) + -before // SAMPLED
        return found

    def train(self, crew: Crew, part: slice) -> None:
        """Take all steps of a crew whose optimizer is compiled."""
        steps = self._batches.steps[part]
        rates = self._rates[: steps.max(), part]
        moves = MOVES[crew.optimizer](self._stacks.rows[part], crew.state, crew.hyper, rates, torch.from_numpy(steps))
        self._run(part, moves, 0, len(rates))
        self._taken.steps[part] = steps

    def propose(self, crew: Crew, part: slice) -> None:
        """Take the steps of another crew, of which all members take as many."""
        rows, grads = self._stacks.rows[part], self._stacks.grads[part]
        for step in range(int(self._batches.steps[part.start])):
            self._run(part, still_moves(rows), step, step + 1)
            updates, crew.state = crew.propose(rows, grads, self._rates[step, part], self._stacks.shapes, step)
            due = (self._batches.taken[part] + step) % SAMPLED == 0
            if due.any():
                self.readings[part, 1] += np.where(due, _change(updates, rows), 0.0)
            rows.add_(updates)
            self._taken.steps[part] += 1

    def _run(self, part: slice, moves: Moves, since: int, until: int) -> None:
        rows, grads = self._stacks.rows.detach().numpy(), self._stacks.grads.numpy()

        def some(begin: int, end: int, own: tuple[NDArray[Any], ...]) -> None:
            place = begin, end, part.start, since, until
            written = self._losses, self.readings, *own
            train(*self._network, self._batches, rows, grads, moves, *place, *written)

        count = min(len(self._scratch), part.stop - part.start)
        ends = np.linspace(part.start, part.stop, count + 1).astype(int).tolist()
        if count == 1:
            some(part.start, part.stop, self._scratch[0])
            return
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(some, ends[:-1], ends[1:], self._scratch[:count]))


def _change(updates: Tensor, rows: Tensor) -> NDArray[Any]:
    """Return how far parameters (P, D) will move, over how large they are."""
    sizes = torch.linalg.vector_norm(rows, dim=1)
    found: NDArray[Any] = torch.where(sizes > 0, torch.linalg.vector_norm(updates, dim=1) / sizes, 0.0).numpy()
    return found


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
