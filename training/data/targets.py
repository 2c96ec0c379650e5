"""Targets on their way into arrays: classes become whole numbers from 0, amounts deviations from the training mean."""

import numpy as np
from numpy.typing import NDArray

from training.data.tables import LARGEST, Chunk, Table

MOST_CLASSES = 1000


def coded(table: Table, chunk: Chunk, row: int, names: dict[str, int]) -> NDArray[np.int64] | NDArray[np.float64]:
    """Return a chunk's targets as numbers; strings as their place in `names`, to which new ones are added.

    The chunk's first example is the table's number `row`.
    """
    targets = chunk.targets
    if chunk.names is not None:
        return _named(table, targets, chunk.names, row, names)
    if targets.dtype.kind == "f":
        remedy = f"it must be a finite number of size {LARGEST:g} at most; correct it, or leave the example out"
        table.refuse(np.abs(targets) <= LARGEST, targets, row, remedy)
        return np.asarray(targets, dtype=np.float64)
    table.refuse(targets <= np.iinfo(np.int64).max, targets, row, "number the classes from 0")
    return np.asarray(targets, dtype=np.int64)


def _named(
    table: Table, targets: NDArray[np.int64], own: list[str], row: int, names: dict[str, int]
) -> NDArray[np.int64]:
    named = np.array([bool(name.strip()) for name in own], dtype=bool)
    table.refuse(named[targets], np.array(own, dtype=object)[targets], row, "fill it in, or leave the example out")
    codes = np.array([names.setdefault(name, len(names)) for name in own], dtype=np.int64)
    _check_count(table, len(names))
    return np.asarray(codes[targets])


def in_order(targets: NDArray[np.int64], names: dict[str, int]) -> tuple[NDArray[np.int64], list[str]]:
    """Number strings in the order of the alphabet instead of that of their appearance; return their names, too."""
    ordered = sorted(names)
    places = np.empty(len(names), dtype=np.int64)
    places[[names[name] for name in ordered]] = np.arange(len(names))
    return np.asarray(places[targets]), ordered


def count_classes(table: Table, targets: NDArray[np.int64], names: list[str]) -> int:
    """Return how many classes there are, called `names` if they have names. Raise ValueError unless 0 to n - 1 occur."""
    remedy = "number the classes from 0, or store numbers to predict as floats, such as -1.0"
    table.refuse(targets >= 0, targets, 0, remedy)
    classes = int(targets.max()) + 1
    _check_count(table, classes)
    there = np.bincount(targets) > 0
    if there.sum() == 1:
        only = _called(names, classes - 1)
        raise ValueError(f"{table.path.name}: all targets are {only}, and there is nothing to tell apart")
    if not there.all():
        raise ValueError(
            f"{table.path.name}: targets go up to {classes - 1}, but none is {there.argmin()}: number the classes from 0 "
            "without gaps, or store numbers to predict as floats, such as 3.0"
        )
    return classes


def check_training(table: Table, classes: int, training: NDArray[np.int64], names: list[str]) -> None:
    """Raise ValueError if a class occurs in the validation part alone."""
    missing = np.flatnonzero(np.bincount(training, minlength=classes) == 0)
    if len(missing):
        raise ValueError(
            f"{table.path.name}: the class {_called(names, int(missing[0]))} has examples for validation alone: give some "
            "for training, or leave the class out"
        )


def standardised_targets(table: Table, targets: NDArray[np.float64], train: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return targets in deviations of the training part, which are those numbered `train`, from its mean."""
    training = targets[train]
    if training.min() == training.max():
        raise ValueError(f"{table.path.name}: all training targets are {training[0]}, and there is nothing to predict")
    mean, deviation = training.mean(), training.std()
    with np.errstate(all="ignore"):  # what cannot be represented is refused below
        standard = np.asarray((targets - mean) / deviation, dtype=np.float32)
    remedy = f"it cannot be standardised by the training targets' mean {mean:g} and deviation {deviation:g}; correct it"
    table.refuse(np.isfinite(standard), targets, 0, remedy)
    return standard


def _called(names: list[str], number: int) -> str:
    return repr(names[number]) if names else str(number)


def _check_count(table: Table, count: int) -> None:
    if count > MOST_CLASSES:
        raise ValueError(
            f"{table.path.name}: targets have more than {MOST_CLASSES} classes: store numbers to predict as floats, such as "
            "3.0"
        )
