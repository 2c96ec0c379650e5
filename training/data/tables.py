"""What a file of examples looks like to whoever reads it, and the reading of NAME.npz.

A file is read in chunks, so that it may be larger than memory. Whatever is wrong with it is a ValueError that names the
file, the place and the remedy.
"""

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some examples in a row: numbers (n, features) and targets (n,) of integers, floats or strings.

    `val` (n,) says which are for validation, None where the file leaves that to us.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    val: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A file of examples. `shape` is that of one input, (features,) for all but pictures.

    `chunks` reads the file from its beginning. `vocabulary` is the number of tokens if the inputs are tokens.
    `place(row, feature)` says where an input stands, both counted from 0.
    """

    path: Path
    shape: tuple[int, ...]
    chunks: Callable[[], Iterator[Chunk]]
    place: Callable[[int, int], str]
    vocabulary: int | None = None

    @property
    def features(self) -> int:
        """How many numbers one input has."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class _Member:
    """An array within an archive."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def chunks(self) -> Iterator[NDArray[Any]]:
        """Yield the rows, flat, a few megabytes at a time."""
        features = math.prod(self.shape[1:])
        rows = max(1, CHUNK_BYTES // (features * self.dtype.itemsize))
        with _told(self.path), zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as file:
            _header(file)
            for start in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                data = file.read(count * features * self.dtype.itemsize)
                yield np.frombuffer(data, self.dtype).reshape(count, features)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what is wrong with an archive as such into a ValueError that names it."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{path.name} cannot be read: {error}; write it with numpy.savez") from error


def npz_table(path: Path) -> Table:
    """Open an archive of `inputs`, `targets`, and perhaps `val_inputs`, `val_targets` and `vocabulary`."""
    with _told(path), zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        _check_names(path, names)
        small = {name: _small(path, archive, name) for name in names & {"targets", "val_targets", "vocabulary"}}
    parts = ["", "val_"] if "val_inputs" in names else [""]
    members = [_member(path, f"{part}inputs") for part in parts]
    for member, part in zip(members, parts, strict=True):
        _check_member(path, member, members[0], small[f"{part}targets"].shape)
    vocabulary = _vocabulary(path, small.get("vocabulary"), members[0])

    def chunks() -> Iterator[Chunk]:
        for member, part in zip(members, parts, strict=True):
            row, targets = 0, small[f"{part}targets"]
            for inputs in member.chunks():
                own = targets[row : row + len(inputs)]
                val = np.full(len(inputs), part == "val_") if len(parts) > 1 else None
                yield Chunk(inputs, own, val)
                row += len(inputs)

    def place(row: int, feature: int) -> str:
        first = members[0].shape[0]
        name, row = ("inputs", row) if row < first else ("val_inputs", row - first)
        return f"{name}[{', '.join(map(str, (row, *np.unravel_index(feature, members[0].shape[1:]))))}]"

    return Table(path, _shape(members[0]), chunks, place, vocabulary)


def _small(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read an array that fits into memory."""
    with archive.open(f"{name}.npy") as file:
        try:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
        except ValueError as error:  # it holds Python objects, or is no array
            raise ValueError(f"{path.name} cannot be read: {name}: {error}; write it with numpy.savez") from error


def _check_names(path: Path, names: set[str]) -> None:
    for needed, reason in (
        ({"inputs", "targets"}, "every archive needs both"),
        ({"val_inputs", "val_targets"} if names & {"val_inputs", "val_targets"} else set(), "the two go together"),
    ):
        if not needed <= names:
            missing, there = ", ".join(sorted(needed - names)), ", ".join(sorted(names)) or "nothing"
            raise ValueError(f"{path.name} has no array {missing}, and {reason}; it has {there}")


def _member(path: Path, name: str) -> _Member:
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        shape, by_column, dtype = _header(file)
    if dtype.kind not in "fiub":
        raise ValueError(f"{path.name}: {name} is of type {dtype}: store real numbers, integers or booleans")
    if by_column and len(shape) > 1:
        raise ValueError(f"{path.name}: {name} is stored column by column: save numpy.ascontiguousarray of it")
    return _Member(path, name, shape, dtype)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read up to where the array's numbers begin."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def _check_member(path: Path, member: _Member, first: _Member, targets: tuple[int, ...]) -> None:
    name, shape = member.name, member.shape
    if len(shape) not in {2, 3, 4} or not all(shape):
        raise ValueError(
            f"{path.name}: {name} has the shape {shape}: it must be (n, features), or for pictures (n, height, width) or "
            "(n, channels, height, width)"
        )
    if shape[1:] != first.shape[1:]:
        raise ValueError(
            f"{path.name}: {name} has the shape {shape} and inputs {first.shape}: they must agree but for n"
        )
    if targets != shape[:1]:
        raise ValueError(f"{path.name}: targets of {name} have the shape {targets}: it must be ({shape[0]},)")


def _vocabulary(path: Path, given: NDArray[Any] | None, inputs: _Member) -> int | None:
    if given is None:
        return None
    if given.shape != () or given.dtype.kind not in "iu" or given < 2:
        raise ValueError(f"{path.name}: vocabulary must be one whole number from 2: how many tokens there are")
    if inputs.dtype.kind not in "iu" or len(inputs.shape) != 2:
        raise ValueError(f"{path.name}: with a vocabulary, inputs must be integers of shape (n, length), 0 for padding")
    return int(given)


def _shape(inputs: _Member) -> tuple[int, ...]:
    shape = inputs.shape[1:]
    return (1, *shape) if len(shape) == 2 else shape
