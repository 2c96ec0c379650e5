"""The reading of NAME.csv and NAME.parquet: a column `target`, perhaps `split`, and features in all others."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, parquet

from training.data.tables import CHUNK_BYTES, Chunk, Table

TARGET, SPLIT = "target", "split"
_BUFFER_BYTES = 2**16
_BLOCK_BYTES = 2**20  # of text; several are read ahead
_LONGEST_HEADER = 2**22
_ROW_PER_HEADER = 16  # a number has up to 25 bytes, and the name of its column at least 2 with the comma
_NO_UTF8 = "is not in UTF-8: save it as UTF-8"
_SPLITS = ("train", "val")


def csv_table(path: Path) -> Table:
    """Open a file of comma-separated values; the first line names the columns, the first lines tell their types."""
    reading, parsing = _reading(path), csv.ParseOptions(newlines_in_values=True)
    with _told(path), csv.open_csv(path, reading, parsing) as reader:
        schema = reader.schema
        names = schema.names
    _check_separator(path, names)
    features = _features(path, schema)
    types = {name: _type(schema.field(name).type) for name in features}
    types |= {TARGET: schema.field(TARGET).type, SPLIT: pa.string()}

    def batches() -> Iterator[pa.RecordBatch]:
        with csv.open_csv(path, reading, parsing, csv.ConvertOptions(column_types=types)) as reader:
            yield from reader

    return _table(path, features, batches)


def parquet_table(path: Path) -> Table:
    """Open a Parquet file."""
    with _told(path), parquet.ParquetFile(path) as file:
        features = _features(path, file.schema_arrow)
        columns = [*features, *(name for name in (TARGET, SPLIT) if name in file.schema_arrow.names)]
    rows = max(1, CHUNK_BYTES // (8 * len(columns)))

    def batches() -> Iterator[pa.RecordBatch]:
        # Through a small buffer: else all columns of a row group are read at once, and one may be the whole file.
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            yield from file.iter_batches(batch_size=rows, columns=columns, use_threads=False)

    return _table(path, features, batches)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what Arrow has against a file into a ValueError that names the file."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} {_NO_UTF8}") from error
    except (pa.ArrowException, OSError) as error:
        text = str(error).partition("\n")[0]
        if "UTF8" in text:
            raise ValueError(f"{path.name} {_NO_UTF8}") from error
        if "straddl" in text:
            text = "a row is longer than a block of text: close every quote, or use Parquet"
        # Arrow counts the names of the columns as a row.
        text = re.sub(r"Row #(\d+)", lambda found: f"row {int(found[1]) - 1}", text)
        raise ValueError(f"{path.name} cannot be read: {text}") from error


def _reading(path: Path) -> csv.ReadOptions:
    """Return how to read a file so that a block of text has room for the rows that belong to such a header."""
    with _told(path), path.open("rb") as file:
        header = file.readline(_LONGEST_HEADER + 1)
        header.decode()
    if len(header) > _LONGEST_HEADER:
        raise ValueError(f"{path.name}: the first line is longer than {_LONGEST_HEADER} bytes: use Parquet")
    if b"\0" in header:
        raise ValueError(f"{path.name} {_NO_UTF8}")
    # One thread: then errors name the row.
    return csv.ReadOptions(block_size=max(_BLOCK_BYTES, _ROW_PER_HEADER * len(header)), use_threads=False)


def _check_separator(path: Path, names: list[str]) -> None:
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in names[0]:
            raise ValueError(f"{path.name} separates its columns by {called}: separate them by commas")


def _type(found: pa.DataType) -> pa.DataType:
    """Return how a feature is read whose first lines look like this; whole numbers may have fractions further down."""
    return found if pa.types.is_boolean(found) else pa.float64()


def _features(path: Path, schema: pa.Schema) -> list[str]:
    """Return the names of the features. Raise ValueError for columns that cannot be used."""
    names = schema.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path.name}: the column {twice[0]!r} is there twice: rename one")
    if TARGET not in names:
        raise ValueError(f"{path.name} has no column {TARGET!r}: name the one to predict so; it has {', '.join(names)}")
    features = [name for name in names if name not in {TARGET, SPLIT}]
    if not features:
        raise ValueError(f"{path.name} has no column beside {', '.join(names)}: features are in all other columns")
    for name in features:
        kind = schema.field(name).type
        usable = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_null)
        if not any(test(kind) for test in usable):
            raise ValueError(
                f"{path.name}: the column {name!r} holds values of type {kind}: turn it into numbers, or leave it out"
            )
    return features


def _table(path: Path, features: list[str], batches: Callable[[], Iterator[pa.RecordBatch]]) -> Table:
    def chunks() -> Iterator[Chunk]:
        row = 0
        with _told(path):
            for batch in batches():
                yield _chunk(path, features, batch, row)
                row += len(batch)

    def place(row: int, feature: int | None) -> str:
        return _place(TARGET if feature is None else features[feature], row)

    return Table(path, (len(features),), np.dtype(np.float64), chunks, place)


def _place(name: str, row: int) -> str:
    column = name if name in {TARGET, SPLIT} else f"the column {name!r}"
    return f"{column} of row {row + 1}"


def _chunk(path: Path, features: list[str], batch: pa.RecordBatch, row: int) -> Chunk:
    inputs = np.empty((len(batch), len(features)))
    for number, name in enumerate(features):
        column = _filled(path, batch, name, row)
        inputs[:, number] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    val = _val(path, batch, row) if SPLIT in batch.schema.names else None
    targets, names = _targets(path, batch, row)
    return Chunk(inputs, targets, names, val)


def _targets(path: Path, batch: pa.RecordBatch, row: int) -> tuple[NDArray[Any], list[str] | None]:
    """Return the targets; if they are strings, the place of each in the second result."""
    column = _filled(path, batch, TARGET, row)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        # Never an array of strings: NumPy gives each the width of the longest.
        column = column.dictionary_encode()
        places = column.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return places, column.dictionary.to_pylist()
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False)), None
    if pa.types.is_binary(kind) and path.suffix == ".csv":
        raise ValueError(f"{path.name} {_NO_UTF8}")
    raise ValueError(f"{path.name}: targets are of type {kind}: they must be integers or strings (classes) or floats")


def _val(path: Path, batch: pa.RecordBatch, row: int) -> NDArray[np.bool_]:
    words = _filled(path, batch, SPLIT, row).cast(pa.string()).to_pylist()
    for number, word in enumerate(words):
        if word not in _SPLITS:
            raise ValueError(f"{path.name}: {_place(SPLIT, row + number)} is {word!r}; valid: {', '.join(_SPLITS)}")
    return np.array([word == "val" for word in words])


def _filled(path: Path, batch: pa.RecordBatch, name: str, row: int) -> pa.Array:
    """Return a column, its values themselves; none may be missing."""
    column = batch.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if column.null_count:
        empty = column.is_null().to_pylist().index(True)
        raise ValueError(f"{path.name}: {_place(name, row + empty)} is empty: fill it in, or leave the row out")
    return column
