"""Files that are either whole or not there."""

import os
import tempfile
from pathlib import Path

from tuneup.errors import TuneupError


def require_writable(path: Path) -> None:
    """Raise TuneupError where a file could not be written, so that a run fails before hours were spent on it."""
    folder = path.parent
    if path.is_dir():
        raise TuneupError(f"cannot write {path}: it is a folder")
    if not folder.is_dir():
        raise TuneupError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise TuneupError(f"cannot write {path}: the folder {folder} is not writable")


def remove(path: Path) -> None:
    """Remove a file where there is one; what is no file (a device) stays. Raises TuneupError."""
    try:
        if path.is_file():
            path.unlink(missing_ok=True)
    except OSError as error:
        raise TuneupError(f"cannot remove {path}: {error.strerror or error}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part: write beside it, sync, rename."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(_mode_of_new_files())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise TuneupError(f"cannot write {path}: {error.strerror or error}") from error


def _mode_of_new_files() -> int:
    """Return what the umask leaves of rw-rw-rw-; a temporary file would keep its results from everyone else."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
