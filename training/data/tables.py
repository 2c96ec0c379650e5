"""What a file of examples looks like to whoever reads it, and the reading of NAME.npz.

A file is read in chunks, so that it may be larger than memory. Whatever is wrong with it is a ValueError that names the
file, the place and the remedy.
"""

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 8 * 2**20
LARGEST = np.float64(1e100)  # of a number: sums of squares of such stay finite
MOST_TOKENS = 2**20
# of an array's type: what it holds
_KINDS: Mapping[str, str] = MappingProxyType(
    {"b": "integers", "i": "integers", "u": "integers", "f": "floats", "U": "strings"}
)
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, KeyError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some examples in a row: numbers (n, features) and targets (n,) of integers or floats.

    If targets are strings, `names` are the distinct ones and `targets` says which of them (int64). `val` (n,) says which
    are for validation, None where the file leaves that to us.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    names: list[str] | None = None
    val: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A file of examples. `shape` is that of one input, (features,) for all but pictures, `dtype` that of all numbers.

    `chunks` reads the file from its beginning. `vocabulary` is the number of tokens if the inputs are tokens.
    `place(row, feature)` says where an input stands, both counted from 0, or with the feature None a target.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: Callable[[], Iterator[Chunk]]
    place: Callable[[int, int | None], str]
    vocabulary: int | None = None

    @property
    def features(self) -> int:
        """How many numbers one input has."""
        return math.prod(self.shape)

    def refuse(self, good: NDArray[np.bool_], values: NDArray[Any], row: int, remedy: str) -> None:
        """Raise ValueError for the first of `values` that is not `good`, saying where it stands and the remedy.

        Both are (n, features) for inputs or (n,) for targets, and begin with the table's example number `row`.
        """
        if not good.all():
            bad = tuple(int(number) for number in np.unravel_index(np.argmin(good), good.shape))
            where = self.place(row + bad[0], bad[1] if len(bad) > 1 else None)
            raise ValueError(f"{self.path.name}: {where} is {str(values[bad]).strip() or 'blank'}: {remedy}")


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
        with _opened(self.path, self.name) as file:
            _header(file)
            for start in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                data = file.read(count * features * self.dtype.itemsize)
                yield np.frombuffer(data, self.dtype).reshape(count, features)


@contextmanager
def _told(path: Path, name: str = "") -> Iterator[None]:
    """Turn what is wrong with an archive or its member as such into a ValueError that names them."""
    try:
        yield
    except _BROKEN as error:
        member = f"{name}: " if name else ""
        raise ValueError(f"{path.name} cannot be read: {member}{error}; write it with numpy.savez") from error


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a member; what is wrong with it becomes a ValueError."""
    with _told(path, name), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        yield file


def npz_table(path: Path) -> Table:
    """Open an archive of `inputs`, `targets`, and perhaps `val_inputs`, `val_targets` and `vocabulary`."""
    with _told(path), zipfile.ZipFile(path) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
    _check_names(path, names)
    needed: tuple[str, ...] = ("targets", "val_targets", "vocabulary")
    small = {name: _small(path, name) for name in needed if name in names}
    _check_kinds(path, {name: array.dtype for name, array in small.items() if name != "vocabulary"})
    parts = ["", "val_"] if "val_inputs" in names else [""]
    members = [_member(path, f"{part}inputs") for part in parts]
    for member, part in zip(members, parts, strict=True):
        _check_member(path, member, members[0])
        _check_length(path, f"{part}targets", small[f"{part}targets"].shape, member)
    dtype = np.result_type(*(member.dtype for member in members))
    vocabulary = _vocabulary(path, small.get("vocabulary"), dtype, members[0].shape)

    def chunks() -> Iterator[Chunk]:
        for member, part in zip(members, parts, strict=True):
            row, targets = 0, small[f"{part}targets"]
            for inputs in member.chunks():
                own, classes = _named(targets[row : row + len(inputs)])
                val = np.full(len(inputs), part == "val_") if len(parts) > 1 else None
                yield Chunk(inputs, own, classes, val)
                row += len(inputs)

    def place(row: int, feature: int | None) -> str:
        first, shape = members[0].shape[0], members[0].shape[1:]
        part, row = ("", row) if row < first else ("val_", row - first)
        if feature is None:
            return f"{part}targets[{row}]"
        return f"{part}inputs[{', '.join(map(str, (row, *np.unravel_index(feature, shape))))}]"

    return Table(path, _shape(members[0]), dtype, chunks, place, vocabulary)


def _small(path: Path, name: str) -> NDArray[Any]:
    """Read an array that fits into memory."""
    with _opened(path, name) as file:  # pickles are refused: they could run code
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _named(targets: NDArray[Any]) -> tuple[NDArray[Any], list[str] | None]:
    """Return the targets, strings as the place of each in the second result."""
    if targets.dtype.kind != "U":
        return targets, None
    distinct, places = np.unique(targets, return_inverse=True)
    return places, distinct.tolist()


def _check_kinds(path: Path, types: Mapping[str, np.dtype[Any]]) -> None:
    for name, dtype in types.items():
        if dtype.kind not in _KINDS:
            raise ValueError(
                f"{path.name}: {name} are of type {dtype}: use integers or strings (classes) or floats (numbers to predict)"
            )
    held = [f"{name} are {_KINDS[dtype.kind]}" for name, dtype in types.items()]
    if len({_KINDS[dtype.kind] for dtype in types.values()}) > 1:
        raise ValueError(f"{path.name}: {' and '.join(held)}: store both as the same")


def _check_names(path: Path, names: set[str]) -> None:
    for needed, reason in (
        ({"inputs", "targets"}, "every archive needs both"),
        ({"val_inputs", "val_targets"} if names & {"val_inputs", "val_targets"} else set(), "the two go together"),
    ):
        if not needed <= names:
            missing, there = ", ".join(sorted(needed - names)), ", ".join(sorted(names)) or "nothing"
            raise ValueError(f"{path.name} has no array {missing}, and {reason}; it has {there}")


def _member(path: Path, name: str) -> _Member:
    with _opened(path, name) as file:
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


def _check_member(path: Path, member: _Member, first: _Member) -> None:
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


def _check_length(path: Path, name: str, shape: tuple[int, ...], inputs: _Member) -> None:
    if shape != inputs.shape[:1]:
        count = inputs.shape[0]
        raise ValueError(
            f"{path.name}: {name} has the shape {shape}: it must be ({count},), for {inputs.name} has {count} examples"
        )


def _vocabulary(path: Path, given: NDArray[Any] | None, inputs: np.dtype[Any], shape: tuple[int, ...]) -> int | None:
    if given is None:
        return None
    if given.shape != () or given.dtype.kind not in "iu" or not 2 <= given <= MOST_TOKENS:
        raise ValueError(
            f"{path.name}: vocabulary must be one whole number from 2 to {MOST_TOKENS}: how many tokens there are"
        )
    if inputs.kind not in "iu" or len(shape) != 2:
        raise ValueError(
            f"{path.name}: with a vocabulary, inputs and val_inputs must be integers of shape (n, length), 0 for padding"
        )
    return int(given)


def _shape(inputs: _Member) -> tuple[int, ...]:
    shape = inputs.shape[1:]
    return (1, *shape) if len(shape) == 2 else shape
