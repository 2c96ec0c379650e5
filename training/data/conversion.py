"""Turning a file of examples, of any size, into arrays that can be mapped: numbers checked, standardised and split.

The folder that is written holds inputs.npy (float32, standardised with the training part's statistics; int32 for
tokens), targets.npy (int64, or float32 standardised likewise), train.npy and val.npy (the numbers of their examples)
and about.json. Memory is needed for one chunk, and for a few numbers an example.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from training.data.splitting import split_numbers
from training.data.tables import CHUNK_BYTES, Table
from training.tasks import CLASSIFICATION, REGRESSION

MOST_CLASSES = 1000
FEWEST_EXAMPLES = 10
_IMAGE_AXES = 3


def convert(table: Table, folder: Path) -> None:
    """Write a table's arrays into an empty folder, and to disk. Raise ValueError for examples that cannot be used."""
    raw, targets, val = _stage(table, folder / "raw")
    classes = targets.dtype.kind != "f"
    outputs = _count_classes(table.path, targets) if classes else 1
    train, held_out = _parts(table.path, len(targets), targets if classes else None, val)
    if not classes:
        targets = _standardised_targets(table.path, targets, targets[train])
    _save_inputs(table, folder / "inputs.npy", raw, train)
    for name, array in (("targets", targets), ("train", train), ("val", held_out)):
        with (folder / f"{name}.npy").open("wb") as file:
            np.save(file, array)
            _sync(file)
    about = {
        "task": (CLASSIFICATION if classes else REGRESSION).name,
        "shape": [table.features],
        "image": table.shape if len(table.shape) == _IMAGE_AXES else None,
        "outputs": outputs,
        "vocabulary": table.vocabulary,
    }
    with (folder / "about.json").open("wb") as file:
        file.write(json.dumps(about).encode())
        _sync(file)
    (folder / "raw").unlink()


def _stage(table: Table, path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_] | None]:
    """Copy the inputs to a plain file, checked; return them mapped, and targets and parts in memory."""
    targets, val, row, dtype = [], [], 0, np.dtype(np.float64)
    names: dict[str, int] = {}
    with path.open("wb") as file:
        for chunk in table.chunks():
            _check(table, chunk.inputs, row)
            chunk.inputs.tofile(file)
            dtype, row = chunk.inputs.dtype, row + len(chunk.inputs)
            targets.append(_coded(table.path, chunk.targets, names))
            val.append(chunk.val)
    if row < FEWEST_EXAMPLES:
        raise ValueError(f"{table.path.name} has {row} examples: at least {FEWEST_EXAMPLES} are needed")
    parts = [part for part in val if part is not None]
    inputs = np.memmap(path, dtype, "r", shape=(row, table.features))
    return inputs, _in_order(np.concatenate(targets), names), np.concatenate(parts) if parts else None


def _check(table: Table, inputs: NDArray[Any], row: int) -> None:
    finite = np.isfinite(inputs) if inputs.dtype.kind == "f" else np.ones_like(inputs, dtype=bool)
    if not finite.all():
        bad_row, bad_feature = (int(number) for number in np.argwhere(~finite)[0])
        where = table.place(row + bad_row, bad_feature)
        raise ValueError(
            f"{table.path.name}: {where} is {inputs[bad_row, bad_feature]}: inputs must be finite numbers; fill it in, or "
            "leave the example out"
        )
    if table.vocabulary is not None and not 0 <= inputs.min() <= inputs.max() < table.vocabulary:
        bad_row, bad_feature = np.argwhere((inputs < 0) | (inputs >= table.vocabulary))[0]
        where = table.place(row + int(bad_row), int(bad_feature))
        raise ValueError(
            f"{table.path.name}: {where} is {inputs[bad_row, bad_feature]}: tokens must be in [0, {table.vocabulary})"
        )


def _coded(path: Path, targets: NDArray[Any], names: dict[str, int]) -> NDArray[Any]:
    """Return targets as numbers; strings as their place in `names`, to which new ones are added."""
    if targets.dtype.kind in "bui":
        return targets.astype(np.int64)
    if targets.dtype.kind == "f":
        return targets.astype(np.float64)
    if targets.dtype.kind != "U":
        raise ValueError(
            f"{path.name}: targets are of type {targets.dtype}: use integers or strings (classes) or floats"
        )
    distinct, place = np.unique(targets, return_inverse=True)
    codes = np.array([names.setdefault(str(name), len(names)) for name in distinct], dtype=np.int64)
    _check_count(path, len(names))
    return codes[place]


def _in_order(targets: NDArray[Any], names: dict[str, int]) -> NDArray[Any]:
    """Number strings in the order of the alphabet instead of that of their appearance."""
    if not names:
        return targets
    place = {name: number for number, name in enumerate(sorted(names))}
    places: NDArray[np.int64] = np.array([place[name] for name in names])
    return np.asarray(places[targets])


def _check_count(path: Path, count: int) -> None:
    if count > MOST_CLASSES:
        raise ValueError(
            f"{path.name}: targets have more than {MOST_CLASSES} classes: store numbers to predict as floats, such as 3.0"
        )


def _count_classes(path: Path, targets: NDArray[np.int64]) -> int:
    if targets.min() < 0:
        raise ValueError(
            f"{path.name}: the target of example {int(targets.argmin()) + 1} is {targets.min()}: number the classes from "
            "0, or store numbers to predict as floats, such as -1.0"
        )
    classes = int(targets.max()) + 1
    _check_count(path, classes)
    if classes == 1:
        raise ValueError(f"{path.name}: all targets are 0, and there is nothing to tell apart")
    return classes


def _parts(
    path: Path, count: int, labels: NDArray[np.int64] | None, val: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the training and of the validation examples."""
    train, held_out = split_numbers(count, labels) if val is None else (np.flatnonzero(~val), np.flatnonzero(val))
    for name, part in (("training", train), ("validation", held_out)):
        if not len(part):
            raise ValueError(f"{path.name} leaves no example for {name}: give more of each class, or say the split")
    return train, held_out


def _standardised_targets(path: Path, targets: NDArray[np.float64], train: NDArray[np.float64]) -> NDArray[np.float32]:
    finite = np.isfinite(targets)
    if not finite.all():
        bad = int(np.argmin(finite))
        raise ValueError(
            f"{path.name}: the target of example {bad + 1} is {targets[bad]}: it must be a finite number; fill it in, or "
            "leave the example out"
        )
    scale = train.std()
    return np.asarray((targets - train.mean()) / (scale if scale > 0 else 1.0), dtype=np.float32)


def _save_inputs(table: Table, path: Path, raw: NDArray[Any], train: NDArray[np.int64]) -> None:
    tokens = table.vocabulary is not None
    dtype = np.dtype(np.int32 if tokens else np.float32)
    shift, scale = (0, 1) if tokens else _statistics(raw, train, together=len(table.shape) == _IMAGE_AXES)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": raw.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start, stop in _spans(raw):
            chunk = raw[start:stop]
            (chunk if tokens else (chunk - shift) / scale).astype(dtype).tofile(file)
        _sync(file)


def _statistics(raw: NDArray[Any], train: NDArray[np.int64], *, together: bool) -> tuple[Any, Any]:
    """Return mean and deviation of each feature, or of all together, over the training examples, in one pass.

    Chunks are merged by Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample
    variances, 1979. A constant feature gets the deviation 1: it is not scaled.
    """
    axis = None if together else 0
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for start, stop in _spans(raw):
        first, last = np.searchsorted(train, (start, stop))
        chunk = raw[train[first:last]].astype(np.float64)
        if not chunk.size:
            continue
        own = chunk.size if together else len(chunk)
        own_mean = chunk.mean(axis=axis)
        delta, total = own_mean - mean, count + own
        squares = squares + ((chunk - own_mean) ** 2).sum(axis=axis) + delta**2 * (count * own / total)
        mean, count = mean + delta * (own / total), total
    deviation = np.sqrt(squares / count)
    return mean, np.where(deviation > 0, deviation, 1.0)


def _spans(raw: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Yield where chunks of rows begin and end."""
    rows = max(1, CHUNK_BYTES // (8 * raw.shape[1]))
    for start in range(0, len(raw), rows):
        yield start, min(start + rows, len(raw))


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
