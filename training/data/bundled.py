"""The data sets that come with installed packages, split and standardised once per process.

Inputs that are numbers are float32, standardised with the training part's statistics: each feature by itself, or all
pixels of a picture together, since some pixels hardly ever light up and would be blown out of proportion. Inputs that
are tokens are int64, 0 is padding.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import torch
from sklearn import datasets

from training.data.docstrings import docstrings
from training.data.examples import Data
from training.data.imports import imports
from training.data.polynomials import even_quadratic
from training.data.splitting import split_in_memory, standardised, standardised_targets
from training.tasks import CLASSIFICATION, REGRESSION

# What reads scikit-learn's data, as (inputs, targets).
Read: TypeAlias = Callable[..., tuple[Any, Any]]

INTENSITIES = 17  # a pixel of the digits is 0 to 16


def _classes(name: str, *, read: Read, image: tuple[int, int, int] | None = None) -> Data:
    inputs, targets = read(return_X_y=True)
    parts = split_in_memory(torch.as_tensor(inputs, dtype=torch.float64), torch.as_tensor(targets), by=targets)
    train, val = standardised(*parts, together=image is not None)
    return Data(name, CLASSIFICATION, train, val, (inputs.shape[1],), int(targets.max()) + 1, image=image)


def _amounts(name: str, *, read: Read) -> Data:
    inputs, targets = read(return_X_y=True)
    examples = (torch.as_tensor(part, dtype=torch.float64) for part in (inputs, targets))
    train, val = standardised_targets(*standardised(*split_in_memory(*examples, by=None)))
    return Data(name, REGRESSION, train, val, (inputs.shape[1],), outputs=1)


def _digits_tokens(name: str) -> Data:
    """Each picture, row by row, as a sequence: intensities 0 to 16 are the tokens 1 to 17."""
    inputs, targets = datasets.load_digits(return_X_y=True)
    tokens = torch.as_tensor(inputs.astype(np.int64) + 1)
    train, val = split_in_memory(tokens, torch.as_tensor(targets), by=targets)
    return Data(name, CLASSIFICATION, train, val, (tokens.shape[1],), outputs=10, vocabulary=INTENSITIES + 1)


def _parity_of_digits(*, return_X_y: bool) -> tuple[Any, Any]:  # noqa: N803 - scikit-learn's name
    inputs, targets = datasets.load_digits(return_X_y=return_X_y)
    return inputs, targets % 2


DATA: Mapping[str, Callable[[str], Data]] = MappingProxyType(
    {
        "digits": partial(_classes, read=datasets.load_digits, image=(1, 8, 8)),
        "wine": partial(_classes, read=datasets.load_wine),
        "breast_cancer": partial(_classes, read=datasets.load_breast_cancer),
        "iris": partial(_classes, read=datasets.load_iris),
        "digits_tokens": _digits_tokens,
        "docstrings": docstrings,
        "imports": imports,
        "diabetes": partial(_amounts, read=datasets.load_diabetes),
        "digits_parity": partial(_classes, read=_parity_of_digits, image=(1, 8, 8)),
        "even_quadratic": even_quadratic,
        "even_quadratic_clustered": partial(even_quadratic, clusters=True),
    }
)


@cache
def load(name: str) -> Data:
    """Return the data set called `name`. Raise ValueError listing the valid names if there is none."""
    if name not in DATA:
        raise ValueError(f"unknown data {name!r}; valid: {', '.join(DATA)}")
    return DATA[name](name)
