"""Data by name: what is bundled, or a file of the worker's data folder.

A file is converted once for all trials and trainers, into a folder within .cache that is named for the file, its size,
its number in the file system and the times of its last changes, and mapped from then on.
"""

import contextlib
import difflib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
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
_FORMAT = 2  # of the converted arrays: a new number converts everything anew
_ABANDONED_SECONDS = 86_400.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_OURS = re.compile(r"([0-9a-f]{16})|\w+\.tmp")  # what follows the file's name: a hash, or a folder being filled
_MOST_LISTED = 20
_ATTEMPTS = 2
_NEAR = 0.8  # of 1, for names that are alike


def find(name: str, folder: Path | None) -> Data:
    """Return the bundled data of this name, else those of the file NAME.npz, NAME.csv or NAME.parquet of the folder.

    Raise ValueError for data that are not there, listing what is, and for a file that cannot be used.
    """
    if not isinstance(name, str):
        raise ValueError(  # noqa: TRY004 - as for all that is wrong with an objective
            f"objective.data is {name!r}: it must be the name of data, in quotes if it looks like a number"
        )
    if name in bundled.DATA:
        return bundled.load(name)
    path = _path(name, folder)
    for _ in range(_ATTEMPTS):
        data = _converted(name, path)
        if data is not None:
            return data
    raise ValueError(f"{path.name} changes while it is read: write it under another name, then rename it")


def _converted(name: str, path: Path) -> Data | None:
    """Return a file's data, converted if they are not yet; None if the file changes or its arrays go meanwhile."""
    entry = _entry(path)
    try:
        if not entry.is_dir():
            _fill(path, entry)
        return _opened(name, entry)
    except FileNotFoundError:  # the file changed, or another trainer saw a newer one and removed these
        return None
    except ValueError:
        if _entry(path) == entry:
            raise
        return None


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
        # First what may help: a trial's reason is cut where it is long.
        meant = _meant(name, folder)
        raise ValueError(
            f"unknown data {name!r}{f'{meant};' if meant else ':'} {folder} has no {name}{{{','.join(TABLES)}}} but "
            f"{_there(folder)}; {valid}"
        )
    return found[0]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in TABLES) if folder.is_dir() else []


def _meant(name: str, folder: Path) -> str:
    """Return what to say of a name that is nearly one of those there."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122 - no path
    files = _files(folder)
    if suffix in TABLES and name in {path.name for path in files}:
        return f"; leave out the suffix: data: {stem}"
    near = difflib.get_close_matches(name, [*(path.stem for path in files), *bundled.DATA], n=1, cutoff=_NEAR)
    return f"; did you mean {near[0]!r}?" if near else ""


def _there(folder: Path) -> str:
    names = [path.name for path in _files(folder)]
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return (", ".join(names[:_MOST_LISTED]) or "nothing") + more


def _entry(path: Path) -> Path:
    """Return the folder of a file's arrays, whether it is there or not."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ValueError(f"{path.name} went away while it was looked for: put it back") from error
    facts = status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
    key = f"{_FORMAT} {path.name} {facts}"
    return path.parent / CACHE / f"{path.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _fill(path: Path, entry: Path) -> None:
    """Convert a file. The folder appears whole or not at all; of two trainers that do this at once, one is in vain.

    No folder appears for a file that changes meanwhile.
    """
    with _writing(entry.parent):
        entry.parent.mkdir(exist_ok=True)
        _sweep(path, entry)
        temporary = Path(tempfile.mkdtemp(prefix=f"{path.name}-", suffix=".tmp", dir=entry.parent))
        try:
            temporary.chmod(0o755)  # other workers may run under other users
            convert(TABLES[path.suffix](path), temporary)
            if _entry(path) == entry:
                _place(temporary, entry)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _writing(cache: Path) -> Iterator[None]:
    """Say of what goes wrong with a folder what it needs."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(
            f"data cannot be converted: {error.strerror or error}; {cache} must be writable for this worker and needs room "
            "for twice the inputs"
        ) from error


def _place(temporary: Path, entry: Path) -> None:
    try:
        temporary.rename(entry)
    except OSError as error:  # renaming replaces no folder that holds something
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise


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
        version=entry.name,
    )
