"""The wide two-layer network and its data, as the training loop knows networks and data."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Generator, Tensor

from optim.sparse.network import INITIALISATIONS
from optim.sparse.settings import Wide
from optim.sparse.sphere import Sphere
from training.data.examples import Data, Examples, InMemory
from training.memory import OutOfMemory, free_bytes
from training.networks.base import Network, Params

# Inputs may take this share of the memory that is free.
_SHARE = 0.25
# Weights are there twice where lists are kept, and twice more for a moment where they are evaluated or saved.
_COPIES = 4
# A thread more pays where its part of a step's inner products, were all computed, is so many multiplications.
_WORTH = 50_000_000


def threads_worth(wide: Wide, features: int, batch_size: int, *, most: int) -> int:
    """Return on how many threads such steps are worth being taken, of `most` that there are."""
    return max(1, min(most, wide.width * features * batch_size // _WORTH))


def two_layer(wide: Wide, data: Data) -> Network:
    """Return the network of a trial: its parameters are weights (m, d) and signs (m, C), of which the first are trained.

    Raise OutOfMemory where it cannot be held.
    """
    needed, free = 4 * wide.width * (_COPIES * data.features + data.outputs), free_bytes(torch.device("cpu"))
    if needed > free:
        raise OutOfMemory(
            f"{wide.width} neurons of {data.features} weights need about {needed / 2**20:.0f} MiB, and "
            f"{free / 2**20:.0f} are free: lower the width"
        )

    def init(generator: Generator) -> list[Tensor]:
        return list(INITIALISATIONS[wide.initialisation](generator, wide.width, data.features, data.outputs))

    def apply(params: Params, inputs: Tensor) -> Tensor:
        weights, signs = params
        return wide.network.outputs(weights, signs, inputs)

    return Network(init, apply)


def on_sphere(data: Data, wide: Wide) -> Data:
    """Return the data with inputs in memory and on the unit sphere, as their training part has them.

    Raise ValueError for inputs that cannot lie there, that are no numbers, or that are too many for memory.
    """
    if data.vocabulary is not None:
        raise ValueError(f"wide-two-layer needs numbers or pictures, and {data.name} has tokens")
    train, val = _held(data, data.train, most=wide.train_examples), _held(data, data.val)
    test = None if data.test is None else _held(data, data.test)
    with _naming("training"):
        sphere = Sphere.of(train.inputs, centered=wide.centered)
        train = _projected(sphere, train)
    with _naming("validation"):
        val = _projected(sphere, val)
    with _naming("test"):
        tested = None if test is None else _projected(sphere, test)
    return replace(data, train=train, val=val, test=tested, shape=(data.features,), image=None)


@contextmanager
def _naming(part: str) -> Iterator[None]:
    """Say of which part of the data an error tells."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"of the {part} part {error}") from error


def _held(data: Data, examples: Examples, *, most: int = 0) -> InMemory:
    """Return examples in memory, as rows of numbers; of the first `most` if that is not 0."""
    count = min(most or len(examples), len(examples))
    needed, free = 4 * count * data.features, free_bytes(torch.device("cpu"))
    if not isinstance(examples, InMemory) and needed > _SHARE * free:
        raise ValueError(
            f"wide-two-layer holds all examples in memory, and {count} of {data.features} numbers take "
            f"{needed / 2**20:.0f} MiB of {free / 2**20:.0f} free: set train_examples"
        )
    inputs, targets = examples.rows(torch.arange(count))
    return InMemory(inputs.reshape(count, -1).float(), targets)


def _projected(sphere: Sphere, examples: InMemory) -> InMemory:
    points, _ = sphere.project(examples.inputs)
    return InMemory(points.contiguous(), examples.targets)
