"""The data sets that come with installed packages, split and standardised once per process.

The split is stratified and the same for every trial and seed, so that trials differ by what they try alone. Inputs
are float32, standardised with the training part's statistics: each feature by itself, or all pixels of a picture
together, since some pixels hardly ever light up and would be blown out of proportion.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from torch import Tensor

VALIDATION_SHARE = 0.2
SPLIT_SEED = 20_230_713


@dataclass(frozen=True, slots=True)
class Data:
    """A classification task. Inputs are (N, features), targets int64 (N,) in 0 .. classes - 1.

    `image` is the shape (channels, height, width) of one input if inputs are pictures, else None.
    """

    name: str
    train_inputs: Tensor
    train_targets: Tensor
    val_inputs: Tensor
    val_targets: Tensor
    classes: int
    image: tuple[int, int, int] | None

    @property
    def features(self) -> int:
        return self.train_inputs.shape[1]

    def to(self, device: torch.device) -> "Data":
        """Return the same data on `device`."""
        return Data(
            self.name,
            self.train_inputs.to(device),
            self.train_targets.to(device),
            self.val_inputs.to(device),
            self.val_targets.to(device),
            self.classes,
            self.image,
        )


@dataclass(frozen=True, slots=True)
class _Source:
    read: Callable[..., Any]
    image: tuple[int, int, int] | None = None


DATA: Mapping[str, _Source] = MappingProxyType(
    {
        "digits": _Source(datasets.load_digits, image=(1, 8, 8)),
        "wine": _Source(datasets.load_wine),
        "breast_cancer": _Source(datasets.load_breast_cancer),
        "iris": _Source(datasets.load_iris),
    }
)


@cache
def load(name: str) -> Data:
    """Return the data set called `name`. Raise ValueError listing the valid names if there is none."""
    if name not in DATA:
        raise ValueError(f"unknown data {name!r}; valid: {', '.join(DATA)}")
    source = DATA[name]
    inputs, targets = source.read(return_X_y=True)
    train_x, val_x, train_y, val_y = train_test_split(
        inputs, targets, test_size=VALIDATION_SHARE, random_state=SPLIT_SEED, stratify=targets
    )
    train, val = (torch.as_tensor(part, dtype=torch.float64) for part in (train_x, val_x))
    shift, scale = _statistics(train, together=source.image is not None)
    return Data(
        name=name,
        train_inputs=((train - shift) / scale).float(),
        train_targets=torch.as_tensor(train_y, dtype=torch.int64),
        val_inputs=((val - shift) / scale).float(),
        val_targets=torch.as_tensor(val_y, dtype=torch.int64),
        classes=int(targets.max()) + 1,
        image=source.image,
    )


def _statistics(train: Tensor, *, together: bool) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, of each feature or of all together; a constant feature is not scaled."""
    scale, shift = torch.std_mean(train, dim=None if together else 0, correction=0)
    return shift, torch.where(scale > 0, scale, 1.0)
