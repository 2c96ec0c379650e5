"""Which examples are for training and which for validation, and what standardises them.

A split is stratified and the same for every trial and seed, so that trials differ by what they try alone.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor

from training.data.examples import Data, InMemory

VALIDATION_SHARE = 0.2
SPLIT_SEED = 20_230_713


def split_in_memory(inputs: Tensor, targets: Tensor, *, by: NDArray[np.int64] | None) -> tuple[InMemory, InMemory]:
    """Return the training and the validation part of examples in memory, stratified by the labels `by`."""
    numbers = np.arange(len(targets))
    parts = train_test_split(numbers, test_size=VALIDATION_SHARE, random_state=SPLIT_SEED, stratify=by)
    train, val = (InMemory(inputs[part], targets[part]) for part in parts)
    return train, val


def hold_out(data: Data, share: float) -> Data:
    """Return the data with this share of the training examples held out as a test, the same for every trial and seed.

    Each class gives its share. Raise ValueError where the examples are not in memory, or too few.
    """
    train = data.train
    if not isinstance(train, InMemory):
        raise ValueError(  # noqa: TRY004 - as for all that is wrong with an objective
            "measured.test holds examples of data in memory out, and these are read from a file: leave it out"
        )
    numbers = np.arange(len(train))
    labels = None if train.targets.is_floating_point() else train.targets.numpy()
    kept, test = train_test_split(numbers, test_size=share, random_state=SPLIT_SEED, stratify=labels)
    parts = (InMemory(train.inputs[part], train.targets[part]) for part in (np.sort(kept), np.sort(test)))
    return replace(data, train=next(parts), test=next(parts))


def split_numbers(count: int, labels: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the examples for training and for validation, each in ascending order.

    With `labels` (count,), whole numbers from 0, each label gives its share. Needs memory for a few numbers an example.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    groups = np.zeros(count, dtype=np.int64) if labels is None else labels[order]
    by_group = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    place = np.arange(count) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # of each example within its group
    held_out = place < np.repeat(np.rint(sizes * VALIDATION_SHARE), sizes)
    chosen = order[by_group]
    return np.sort(chosen[~held_out]), np.sort(chosen[held_out])


def standardised(train: InMemory, val: InMemory, *, together: bool = False) -> tuple[InMemory, InMemory]:
    """Return the same examples with float32 inputs of mean 0 and deviation 1 over the training part.

    That is each feature by itself, or all `together`. A constant feature is shifted and not scaled.
    """
    scale, shift = torch.std_mean(train.inputs, dim=None if together else 0, correction=0)
    scale = torch.where(scale > 0, scale, 1.0)  # PyTorch's running mean of a constant is exact, and this is 0
    train, val = (InMemory(((part.inputs - shift) / scale).float(), part.targets) for part in (train, val))
    return train, val


def standardised_targets(train: InMemory, val: InMemory) -> tuple[InMemory, InMemory]:
    """Return the same examples with float32 targets counted in training deviations from the training mean."""
    scale, shift = torch.std_mean(train.targets, correction=0)
    train, val = (InMemory(part.inputs, ((part.targets - shift) / scale).float()) for part in (train, val))
    return train, val
