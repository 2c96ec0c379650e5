"""Folders that are small disks of their own, so that they can be filled without hurting anybody else.

They lie in memory where this process may mount such a disk, else they are plain folders, which cannot be filled.
What a killed run left behind is removed by the next one.
"""

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

_SIZE = "512m"
_FILLER = "filler"
_OWNER = "owner"


def make(prefix: str) -> Path:
    """Make a folder in the usual place for temporary ones, on a disk of its own where possible."""
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        if _orphaned(left):
            remove(left)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    _run("mount", "-t", "tmpfs", "-o", f"size={_SIZE},mode=0755", "tmpfs", str(folder))
    (folder / _OWNER).write_text(str(os.getpid()))
    return folder


def fill(folder: Path) -> bool:
    """Take all the room that is left; return False where the folder is no disk of its own, or full already."""
    if not folder.is_mount() or (folder / _FILLER).exists():
        return False
    with (folder / _FILLER).open("wb", buffering=0) as file, suppress(OSError):
        block = bytes(1 << 20)
        while file.write(block) == len(block):
            pass
    return True


def free(folder: Path) -> None:
    """Give back what `fill` took."""
    (folder / _FILLER).unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove a folder of `make`, and the disk below it."""
    if folder.is_mount():
        _run("umount", "--lazy", str(folder))
    shutil.rmtree(folder, ignore_errors=True)


def _orphaned(folder: Path) -> bool:
    try:
        return not psutil.pid_exists(int((folder / _OWNER).read_text()))
    except (OSError, ValueError):
        return False  # one that is being made just now


def _run(*words: str) -> None:
    with suppress(OSError):
        subprocess.run(words, check=False, capture_output=True)
