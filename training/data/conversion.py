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
from training.data.tables import CHUNK_BYTES, LARGEST, Table
from training.data.targets import check_training, coded, count_classes, in_order, standardised_targets
from training.tasks import CLASSIFICATION, REGRESSION

FEWEST_EXAMPLES = 10
_IMAGE_AXES = 3


def convert(table: Table, folder: Path) -> None:
    """Write a table's arrays into an empty folder, and to disk. Raise ValueError for examples that cannot be used."""
    raw, targets, names, val = _stage(table, folder / "raw")
    classes = targets.dtype.kind != "f"
    outputs = count_classes(table, targets, names) if classes else 1
    train, held_out = _parts(table.path, len(targets), targets if classes else None, val)
    if classes:
        check_training(table, outputs, targets[train], names)
    else:
        targets = standardised_targets(table, targets, train)
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


def _stage(table: Table, path: Path) -> tuple[NDArray[Any], NDArray[Any], list[str], NDArray[np.bool_] | None]:
    """Copy the inputs to a plain file, checked; return them mapped, and targets, names of classes and parts."""
    targets, val, row = [], [], 0
    names: dict[str, int] = {}
    with path.open("wb") as file:
        for chunk in table.chunks():
            _check(table, chunk.inputs, row)
            np.asarray(chunk.inputs, dtype=table.dtype).tofile(file)
            targets.append(coded(table, chunk, row, names))
            val.append(chunk.val)
            row += len(chunk.inputs)
    if row < FEWEST_EXAMPLES:
        raise ValueError(f"{table.path.name} has {row} examples: at least {FEWEST_EXAMPLES} are needed")
    inputs = np.memmap(path, table.dtype, "r", shape=(row, table.features))
    numbers, ordered = np.concatenate(targets), list[str]()
    if names:
        numbers, ordered = in_order(numbers.astype(np.int64), names)
    parts = [part for part in val if part is not None]
    return inputs, numbers, ordered, np.concatenate(parts) if parts else None


def _check(table: Table, inputs: NDArray[Any], row: int) -> None:
    if inputs.dtype.kind == "f":
        remedy = f"inputs must be finite numbers of size {LARGEST:g} at most; correct it, or leave the example out"
        table.refuse(np.abs(inputs) <= LARGEST, inputs, row, remedy)
    if table.vocabulary is not None:
        known = (inputs >= 0) & (inputs < table.vocabulary)
        table.refuse(known, inputs, row, f"tokens must be in [0, {table.vocabulary})")


def _parts(
    path: Path, count: int, labels: NDArray[np.int64] | None, val: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of the training and of the validation examples."""
    train, held_out = split_numbers(count, labels) if val is None else (np.flatnonzero(~val), np.flatnonzero(val))
    remedy = "give more of each class, or say the split" if val is None else "change the split"
    for name, part in (("training", train), ("validation", held_out)):
        if not len(part):
            raise ValueError(f"{path.name} leaves no example for {name}: {remedy}")
    return train, held_out


def _save_inputs(table: Table, path: Path, raw: NDArray[Any], train: NDArray[np.int64]) -> None:
    tokens = table.vocabulary is not None
    dtype = np.dtype(np.int32 if tokens else np.float32)
    shift, scale = (0, 1) if tokens else _statistics(raw, train, together=len(table.shape) == _IMAGE_AXES)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": raw.shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start, stop in _spans(raw):
            chunk = raw[start:stop]
            with np.errstate(all="ignore"):  # what cannot be represented is refused
                written = (chunk if tokens else (chunk - shift) / scale).astype(dtype)
            remedy = "it is too far from the training examples to be standardised; correct it, or leave the example out"
            table.refuse(np.isfinite(written), chunk, start, remedy)
            written.tofile(file)
        _sync(file)


def _statistics(raw: NDArray[Any], train: NDArray[np.int64], *, together: bool) -> tuple[Any, Any]:
    """Return mean and deviation of each feature, or of all together, over the training examples, in one pass.

    Chunks are merged by Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample
    variances, 1979. A constant feature gets the deviation 1: it is not scaled. What is constant is told by its smallest
    and largest value: rounding gives most constants a deviation over 0.
    """
    axis = None if together else 0
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    low, high = np.array(np.inf), np.array(-np.inf)
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
        low, high = np.minimum(low, chunk.min(axis=axis)), np.maximum(high, chunk.max(axis=axis))
    deviation = np.sqrt(squares / count)
    return np.where(low < high, mean, low), np.where((low < high) & (deviation > 0), deviation, 1.0)


def _spans(raw: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Yield where chunks of rows begin and end."""
    rows = max(1, CHUNK_BYTES // (8 * raw.shape[1]))
    for start in range(0, len(raw), rows):
        yield start, min(start + rows, len(raw))


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
