"""The checkpoints of one attempt: written while it trains, and read to go on from an earlier one."""

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from training import files
from training.files import Saved
from training.state import Snapshot


def write(path: Path, step: int, snapshot: Snapshot) -> Saved:
    """Write a checkpoint whole and to disk. Raise OSError if it cannot be; nothing is left of it then."""
    buffer = io.BytesIO()
    torch.save(snapshot, buffer)
    data = buffer.getvalue()
    return Saved(path, files.write(path, data), step, len(data))


def read(saved: Saved) -> Snapshot | None:
    """Return what a checkpoint holds; None if it is not the file that was written, or nothing that torch can load."""
    data = files.read(saved)
    if data is None:
        return None
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - whatever torch has against it, there is an older one, or the beginning
        _say(f"{saved.path.name} cannot be loaded: {error}")
        return None
    return loaded if isinstance(loaded, dict) else None


class Keeper:
    """Keeps one attempt's checkpoints in the trial's folder: its two newest, and those it might go on from."""

    def __init__(self, folder: Path, *, attempt: int, resume: Sequence[Saved] = ()) -> None:
        self._folder = folder
        self._attempt = attempt
        self._resume = resume
        self._written: list[Saved] = []
        self._serial = 0
        self._complained = False

    def resume(self, fits: Callable[[Snapshot], bool]) -> tuple[Saved, Snapshot] | None:
        """Return the newest checkpoint to go on from that is sound and fits, None if there is none.

        What earlier attempts left beside those is removed: nobody can go on from it.
        """
        for path in files.leftovers(self._folder, attempt=self._attempt, resume=self._resume):
            files.remove(path)
        for saved in self._resume:
            snapshot = read(saved)
            if snapshot is not None and fits(snapshot):
                return saved, snapshot
            _say(f"{saved.path.name} is not what was written, or of another run: passed over")
        return None

    def save(self, step: int, snapshot: Snapshot) -> Saved | None:
        """Write a checkpoint; return None if it cannot be written, for which no trial shall fail."""
        self._serial += 1
        path = self._folder / files.name(self._attempt, step, self._serial)
        try:
            if not self._written:
                files.make_folder(self._folder)
            saved = write(path, step, snapshot)
        except OSError as error:
            self._complain(error)
            return None
        self._written.append(saved)
        return saved

    def prune(self) -> None:
        """Remove the files of this attempt that newer ones have replaced."""
        for saved in files.surplus(self._written):
            files.remove(saved.path)
            self._written.remove(saved)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            _say(f"cannot be written, training goes on without: {error}")
        self._complained = True


def _say(text: str) -> None:
    sys.stderr.write(f"trainer: checkpoint {text}\n")
    sys.stderr.flush()
