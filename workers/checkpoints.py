"""Where the checkpoints of trials lie: FOLDER/<study>/<number>/, until the trial has ended for good.

Where trials go on from the checkpoints of others, all of them stay until the study has ended.

The ledger holds paths relative to FOLDER, so that hosts that share it may have it in different places.
"""

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.checkpoints import inherits
from models.ids import read_study, show_study
from models.session import Connection, Database
from models.states import FINAL_TRIAL_STATES, TrialState
from models.studies import count_states
from models.trials import list_trials
from search.trials.dispatch import Claim
from training import files

log = logging.getLogger("tuneup.checkpoints")

_LIVE = tuple(state for state in TrialState if state not in FINAL_TRIAL_STATES)
_MANY = 10_000_000
_LONG_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Shelf:
    """The folder of all checkpoints (absolute), and how often a trial writes one, in seconds."""

    root: Path
    seconds: float

    def place(self, claim: Claim) -> Path:
        """Return the folder of a trial, there or not."""
        return self.root / show_study(claim.study_id) / str(claim.number)

    def offer(self, claim: Claim, *, make: bool = True) -> dict[str, Any] | None:
        """Say to a trial's trainer where its checkpoints go and what it may go on from, the newest first.

        Make the folder now, or leave it to the first checkpoint: most trials of a lane end before there is one. None
        where the folder cannot be made: then the trial runs without checkpoints.
        """
        folder = self.place(claim)
        try:
            if make:
                files.have_folder(folder)
        except OSError as error:
            log.warning("trial %s runs without checkpoints: %s", claim.id, error)
            return None
        return {"folder": str(folder), "seconds": self.seconds, "resume": self._resumable(claim)}

    def relative(self, claim: Claim, path: str) -> str | None:
        """Return how the ledger names a file of a trial; None for one outside the trial's folder."""
        found = Path(path).resolve()
        inside = found.is_relative_to(self.place(claim).resolve())
        return str(found.relative_to(self.root.resolve())) if inside else None

    def holds(self, claim: Claim) -> bool:
        """Say whether a trial has a folder: many end before they need one."""
        return self.place(claim).exists()

    def clear(self, claim: Claim) -> None:
        """Remove the folder of a trial that has ended for good, if there is one; of a possible parent it stays."""
        if claim.leg is None and self.holds(claim):
            shutil.rmtree(self.place(claim), ignore_errors=True)

    def tidy(self, database: Database) -> None:
        """Remove the folders of trials that have ended, or whose study was deleted (a day later); what else is there stays."""
        for folder in _folders(self.root):
            study_id = read_study(folder.name)
            if study_id is not None:
                self.tidy_study(database, study_id)

    def tidy_study(self, database: Database, study_id: int) -> None:
        """Do so for one study."""
        study = self.root / show_study(study_id)
        # Listed before the ledger is asked: a trial that begins meanwhile is not among them.
        folders = [path for path in _folders(study) if path.name.isdecimal()]
        known, live = database.read(lambda connection: _trials(connection, study_id))
        if not known and any(_is_young(path) for path in folders):
            return  # another service may have its checkpoints in this folder, too
        for path in folders:
            if path.name not in live:
                shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):  # others are still in it, or it is gone
            study.rmdir()

    def _resumable(self, claim: Claim) -> list[dict[str, Any]]:
        return [
            {"path": str(self.root / kept.path), "sha256": kept.sha256, "step": kept.step}
            for kept in claim.checkpoints
            if self._may_read(claim, self.root / kept.path) and (self.root / kept.path).is_file()
        ]

    def _may_read(self, claim: Claim, path: Path) -> bool:
        """Say whether a file lies in the trial's folder, or its parent's."""
        numbers = {claim.number} if claim.leg is None else {claim.number, claim.leg.parent}
        folder = self.place(claim).parent.resolve()
        return any(path.resolve().is_relative_to(folder / str(number)) for number in numbers)


def _is_young(path: Path) -> bool:
    """Say so of a folder; what another worker has removed meanwhile is not."""
    try:
        return time.time() - path.stat().st_mtime < _LONG_SECONDS
    except FileNotFoundError:
        return False


def _folders(parent: Path) -> Iterator[Path]:
    try:
        yield from [path for path in parent.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return


def _trials(connection: Connection, study_id: int) -> tuple[bool, set[str]]:
    """Say whether the ledger knows trials of this study, and name those that have not ended or may become parents."""
    known = bool(count_states(connection, [study_id])[study_id])
    states = () if inherits(connection, study_id) else _LIVE
    return known, {str(row.number) for row in list_trials(connection, study_id, limit=_MANY, states=states)}
