"""Data by name: what is bundled, or a file of the worker's data folder.

A file is converted once for all trials and trainers, into a folder within .cache that is named for the file, its size
and the time of its last change, and mapped from then on.
"""

import contextlib
import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from training.data import bundled
from training.data.arrow import csv_table, parquet_table
from training.data.conversion import convert
from training.data.examples import Data
from training.data.mapped import Mapped
from training.data.tables import Table, npz_table
from training.tasks import CLASSIFICATION, REGRESSION

# suffix -> how such a file is opened
TABLES: Mapping[str, Callable[[Path], Table]] = MappingProxyType(
    {".npz": npz_table, ".csv": csv_table, ".parquet": parquet_table}
)
CACHE = ".cache"
_FORMAT = 1  # of the converted arrays: a new number converts everything anew
_ABANDONED_SECONDS = 86_400.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_OURS = re.compile(r"([0-9a-f]{16})|\w+\.tmp")  # what follows the file's name: a hash, or a folder being filled
_MOST_LISTED = 20


def find(name: str, folder: Path | None) -> Data:
    """Return the bundled data of this name, else those of the file NAME.npz, NAME.csv or NAME.parquet of the folder.

    Raise ValueError for data that are not there, listing what is, and for a file that cannot be used.
    """
    if name in bundled.DATA:
        return bundled.load(name)
    path = _path(name, folder)
    entry = _entry(path)
    if not entry.is_dir():
        _fill(path, entry)
    return _opened(name, entry)


def _path(name: str, folder: Path | None) -> Path:
    valid = f"bundled are {', '.join(bundled.DATA)}"
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of data: use letters, digits and _ . -; {valid}")
    if folder is None:
        raise ValueError(f"unknown data {name!r}, and this worker has no data folder; {valid}")
    found = [path for suffix in TABLES if (path := folder / f"{name}{suffix}").is_file()]
    if len(found) > 1:
        raise ValueError(f"{' and '.join(path.name for path in found)} are both in {folder}: remove or rename one")
    if not found:
        raise ValueError(
            f"unknown data {name!r}: {folder} has no {name}{{{','.join(TABLES)}}} but {_there(folder)}; {valid}"
        )
    return found[0]


def _there(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.suffix in TABLES) if folder.is_dir() else []
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return (", ".join(names[:_MOST_LISTED]) or "nothing") + more


def _entry(path: Path) -> Path:
    """Return the folder of a file's arrays, whether it is there or not."""
    status = path.stat()
    key = f"{_FORMAT} {path.name} {status.st_size} {status.st_mtime_ns}"
    return path.parent / CACHE / f"{path.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _fill(path: Path, entry: Path) -> None:
    """Convert a file. The folder appears whole or not at all; of two trainers that do this at once, one is in vain."""
    entry.parent.mkdir(exist_ok=True)
    _sweep(path, entry)
    temporary = Path(tempfile.mkdtemp(prefix=f"{path.name}-", suffix=".tmp", dir=entry.parent))
    try:
        temporary.chmod(0o755)  # other workers may run under other users
        convert(TABLES[path.suffix](path), temporary)
        with contextlib.suppress(OSError):  # it is there already: renaming replaces no folder that holds something
            temporary.rename(entry)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(path: Path, entry: Path) -> None:
    """Remove the arrays of earlier versions of the file, and what trainers left that were killed while converting.

    Who has them mapped keeps them.
    """
    for old in entry.parent.iterdir():
        kind = _OURS.fullmatch(old.name.removeprefix(f"{path.name}-"))
        with contextlib.suppress(OSError):
            if kind and old != entry and (kind[1] or time.time() - old.stat().st_mtime > _ABANDONED_SECONDS):
                shutil.rmtree(old, ignore_errors=True)


def _opened(name: str, entry: Path) -> Data:
    inputs, targets, train, val = (
        np.load(entry / f"{part}.npy", mmap_mode="r") for part in ("inputs", "targets", "train", "val")
    )
    about = json.loads((entry / "about.json").read_text(encoding="utf-8"))
    return Data(
        name=name,
        task=next(task for task in (CLASSIFICATION, REGRESSION) if task.name == about["task"]),
        train=Mapped(inputs, targets, train),
        val=Mapped(inputs, targets, val),
        shape=tuple(about["shape"]),
        outputs=about["outputs"],
        image=about["image"] and tuple(about["image"]),
        vocabulary=about["vocabulary"],
    )
