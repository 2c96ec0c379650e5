"""The reading of NAME.csv and NAME.parquet: a column `target`, perhaps `split`, and features in all others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
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
_SPLITS = ("train", "val")


def csv_table(path: Path) -> Table:
    """Open a file of comma-separated values; the first line names the columns, the first lines tell their types."""
    with _told(path), csv.open_csv(path, _reading()) as reader:
        features = _features(path, reader.schema)
        types = {name: _type(reader.schema.field(name).type) for name in features}
        types |= {TARGET: reader.schema.field(TARGET).type, SPLIT: pa.string()}

    def batches() -> Iterator[pa.RecordBatch]:
        with csv.open_csv(path, _reading(), convert_options=csv.ConvertOptions(column_types=types)) as reader:
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
    except pa.ArrowException as error:
        text = str(error).partition("\n")[0]
        raise ValueError(f"{path.name} cannot be read: {text}") from error


def _reading() -> csv.ReadOptions:
    # One thread: then errors name the row.
    return csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False)


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

    return Table(path, (len(features),), chunks, partial(_place, features))


def _place(features: list[str], row: int, feature: int) -> str:
    return f"the column {features[feature]!r} of row {row + 1}"


def _chunk(path: Path, features: list[str], batch: pa.RecordBatch, row: int) -> Chunk:
    inputs = np.empty((len(batch), len(features)))
    for number, name in enumerate(features):
        inputs[:, number] = batch.column(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
    val = _val(path, batch, row) if SPLIT in batch.schema.names else None
    return Chunk(inputs, _targets(path, batch, row), val)


def _targets(path: Path, batch: pa.RecordBatch, row: int) -> NDArray[Any]:
    column = _filled(path, batch, TARGET, row)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(column.cast(pa.string()).to_pylist(), dtype=np.str_)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False))
    if pa.types.is_floating(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    raise ValueError(f"{path.name}: targets are of type {kind}: they must be integers or strings (classes) or floats")


def _val(path: Path, batch: pa.RecordBatch, row: int) -> NDArray[np.bool_]:
    words = _filled(path, batch, SPLIT, row).cast(pa.string()).to_pylist()
    for number, word in enumerate(words):
        if word not in _SPLITS:
            raise ValueError(f"{path.name}: split of row {row + number + 1} is {word!r}; valid: {', '.join(_SPLITS)}")
    return np.array([word == "val" for word in words])


def _filled(path: Path, batch: pa.RecordBatch, name: str, row: int) -> pa.Array:
    column = batch.column(name)
    if column.null_count:
        empty = column.is_null().to_pylist().index(True)
        raise ValueError(f"{path.name}: {name} of row {row + empty + 1} is empty: fill it in, or leave the row out")
    return column
