"""A trained run as those see it who look back at it, and how they work: in pieces, so that others have their turns.

What is made of curvature is a generator of its values: it yields whenever a moment's work is done, and returns them by
name. It is a pure function of what it is given; random numbers come from the run's own data order.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from optim.precondition.layers import Layer
from optim.precondition.modules.kinds import MATRIX
from training.course import Course, Run
from training.curvature import layers_of
from training.data.examples import Data
from training.evaluation import BLOCK_NUMBERS

T = TypeVar("T")
Pieces: TypeAlias = Generator[None, None, T]
Values: TypeAlias = dict[str, float]

# So many examples are looked at in a piece, and fewer where they or their outputs are many numbers.
BLOCK = 256
# And fewer where what is made of them takes more numbers than these: 256 MiB of float32.
MOST_NUMBERS = 2**26


class Unavailable(Exception):
    """Something cannot be had of this run; the message says why."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A course that was trained on `data`, and the parameters to evaluate that came of it; `layers` are the network's.

    `order` is the state of a generator (see `torch.Generator.get_state`), for what is drawn from now on.
    """

    course: Course
    data: Data
    params: list[Tensor]
    layers: Sequence[Layer]
    order: Tensor

    def key(self, number: int) -> Tensor:
        """Return a key for random numbers that are drawn where the parameters are."""
        return torch.tensor(number, device=self.params[0].device)

    @property
    def matrices(self) -> list[Layer]:
        """The layers that multiply by a matrix. Raise Unavailable if none is known."""
        found = [layer for layer in self.layers if layer.kind in MATRIX and layer.weight is not None]
        if not found:
            raise Unavailable("the network has no layer with a matrix that is known")
        return found


def trained(run: Run) -> Trained:
    """Return a run that stands behind its last batch. Raise Unavailable where it left the numbers."""
    course, state = run.course, run.state
    with torch.no_grad():
        found = course.rule.evaluated(state.params, state.rule, course.hyper)
    if not all(bool(param.isfinite().all()) for param in found):
        raise Unavailable("its parameters are not finite")
    params = [param.detach().clone().requires_grad_() for param in found]
    return Trained(course, course.data, params, layers_of(course.network, course.data), run.epoch.order)


def block_size(data: Data, numbers: int = 1) -> int:
    """Return how many examples of these data are looked at in a piece, each of which needs so many numbers beside itself."""
    return max(1, min(BLOCK, BLOCK_NUMBERS // (data.features * data.outputs), MOST_NUMBERS // numbers))


def blocks(data: Data, numbers: int = 1) -> tuple[Tensor, ...]:
    """Return the numbers of the examples of the training part, in their order, so many at a time."""
    return torch.split(torch.arange(len(data.train)), block_size(data, numbers))
