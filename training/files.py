"""Checkpoint files: written so that a crash leaves either the whole file or none, and read only if whole.

This module imports no torch, and knows nothing of what the files hold.
"""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KEPT = 2
_SUFFIX = ".pt"
_TEMPORARY = ".tmp"
# <attempt>-<step>-<serial>.pt, so that no attempt ever writes over a file of another's
_NAME = re.compile(rf"(\d+)-\d+-\d+{re.escape(_SUFFIX)}({re.escape(_TEMPORARY)})?")


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint on disk: `step` counts the steps reported before it, `sha256` is in hexadecimal, `size` in bytes."""

    path: Path
    sha256: str
    step: int
    size: int = 0


def name(attempt: int, step: int, serial: int) -> str:
    """Return the name of an attempt's checkpoint, the `serial`-th that it writes."""
    return f"{attempt}-{step}-{serial}{_SUFFIX}"


def have_folder(folder: Path) -> None:
    """Make a folder for checkpoints, if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:
        # Its parent was made and, empty as it still was, removed by whoever tidies.
        folder.mkdir(parents=True, exist_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder for checkpoints, if it is not there, and see that it outlives a power cut as they do."""
    have_folder(folder)
    sync_folder(folder.parent)


def write(path: Path, data: bytes) -> str:
    """Write a file so that it is there as a whole or not at all, also after a crash; return its sha256.

    Raise OSError if it cannot be written, a full disk among others; nothing is left of it then.
    """
    temporary = path.with_name(path.name + _TEMPORARY)
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        remove(temporary)
        raise
    return hashlib.sha256(data).hexdigest()


def read(saved: Saved) -> bytes | None:
    """Return what is in the file, None if it is not the file that was written: torn, replaced or gone."""
    try:
        data = saved.path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == saved.sha256 else None


def lies_in(folder: Path, path: Path) -> bool:
    """Say whether a path leads to a file in the folder. Raise OSError, or RuntimeError for a loop of links, if to nothing.

    One look tells, for whoever wrote the file may remove it between two.
    """
    return path.resolve().is_relative_to(folder.resolve()) and stat.S_ISREG(path.stat().st_mode)


def seal(path: Path, step: int) -> Saved:
    """Bring a file that another process has written to disk, and take its hash. Raise OSError if it cannot be read."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    sync_folder(path.parent)
    return Saved(path, digest, step, size)


def newest_sound(resume: Iterable[Saved]) -> Saved | None:
    """Return the first file that is still the one written."""
    return next((saved for saved in resume if _is_sound(saved)), None)


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to disk: a rename is durable only then."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file if it is there and can be."""
    with contextlib.suppress(OSError):
        path.unlink()


def surplus(written: list[Saved]) -> list[Saved]:
    """Return those of one attempt's files, oldest first, that nobody needs: all but the two newest.

    Of the two newest steps the newest file is kept, too: the ledger holds one file a step.
    """
    by_step = {saved.step: saved for saved in written}
    kept = [*written[-KEPT:], *list(by_step.values())[-KEPT:]]
    return [saved for saved in written if saved not in kept]


def leftovers(folder: Path, *, attempt: int, resume: Iterable[Saved]) -> list[Path]:
    """Return the files of earlier attempts that this one cannot go on from, half-written ones among them.

    Never those of a later attempt: it may be at work already while this one has lost its lease and does not know it.
    """
    kept = {saved.path.name for saved in resume}
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [(path, _NAME.fullmatch(path.name)) for path in found]
    return [path for path, match in named if match and int(match[1]) < attempt and path.name not in kept]


def _is_sound(saved: Saved) -> bool:
    try:
        with saved.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == saved.sha256
    except OSError:
        return False
