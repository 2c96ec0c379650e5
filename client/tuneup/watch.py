"""`tuneup run` after the study was accepted: watch it, then hand over what it found."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from tuneup.client import Client
from tuneup.errors import NotFound, TimedOut
from tuneup.files import remove, require_writable, write_atomically
from tuneup.output import console, objectives, print_best, print_json, print_pareto, say, summary
from tuneup.progress import showing
from tuneup.queues import Idle, unserved
from tuneup.shapes import BestData, Json, ParetoData
from tuneup.study import Study

COMPLETED, ERROR, BAD_STUDY, TIME_SPENT, INTERRUPTED = 0, 1, 2, 5, 130
# Of `tuneup verdict`: what the study answers. 2 and 5 are taken.
IMPROVED, UNDECIDED, WORSE = 0, 3, 4


@dataclass(frozen=True, slots=True)
class Handover:
    """How the result is wanted: as JSON on standard output, in a file, with a picture."""

    as_json: bool
    output: Path | None
    picture: Path | None

    def require_writable(self) -> None:
        """Raise TuneupError where a wanted file could not be written."""
        for path in (self.output, self.picture):
            if path is not None:
                require_writable(path)

    def remove_old_output(self) -> None:
        """Remove the result of an earlier run, which must not pass for this one's; raises TuneupError."""
        if self.output is not None:
            remove(self.output)


def watch(study: Study, *, client: Client, ends: float | None) -> int:
    """Wait for the study, showing its progress, until it ends or `ends` (time.monotonic) comes. Returns the exit code.

    Ctrl-C and the end of the time leave the study running, and say how to look at it again. Where nothing happens for a
    while because the study's queue has no worker, that is said once.
    """
    screen, idle = console(stderr=True), Idle()
    timeout = None if ends is None else max(0.0, ends - time.monotonic())
    try:
        with showing(study.name, screen=screen) as show:

            def look(seen: Study) -> None:
                show(seen)
                if idle.too_long(seen, now=time.monotonic()) and (notice := unserved(client, seen)):
                    say(notice, screen=screen)

            study.wait(timeout=timeout, on_progress=look)
    except KeyboardInterrupt:
        say(f"study {study.id} goes on running; {_look_again(study)}")
        return INTERRUPTED
    except TimedOut:
        say(f"time is spent: {summary(study.data)}; the study goes on running; {_look_again(study)}")
        return TIME_SPENT
    if study.state == "completed":
        return COMPLETED
    say(f"study {study.id} {study.state}" + (f": {study.data['reason']}" if study.data["reason"] else ""))
    if study.state == "failed" and (failed := next(study.trials(state="failed"), None)) is not None:
        say(f"trial {failed['number']} failed: {failed['reason']}; `tuneup trials {study.id}` lists all")
    return ERROR


def hand_over(study: Study, *, wanted: Handover) -> int:
    """Print the best trial so far, or the best trade-offs, and write the files that are wanted. Returns the exit code.

    Raises TuneupError where a file cannot be written or the picture cannot be had.
    """
    several = len(objectives(study.data)) > 1
    front = study.pareto() if several else None
    best = None if several else find_best(study)
    if wanted.as_json:
        print_json({"study": study.data, "best": best} | ({"pareto": front} if front is not None else {}))
    elif front is not None:
        print_pareto(front)
    elif best is not None:
        print_best(best)
    found = _found(best, front)
    if wanted.output is not None and found is not None:
        write_atomically(wanted.output, _output(study, found))
    if wanted.picture is not None:
        write_atomically(wanted.picture, study.picture())
    if wanted.output is not None and found is None:
        say(f"{wanted.output} was not written: no trial of study {study.id} has completed and keeps the constraints")
        return ERROR
    return COMPLETED


def find_best(study: Study) -> BestData | None:
    """Return the best completed trial, or None while there is none."""
    try:
        return study.best()
    except NotFound:
        return None


def _found(best: BestData | None, front: ParetoData | None) -> Json | None:
    """Return what is written of the best trial, or of those on the front; None where there is none."""
    if best is not None:
        return {"trial": best["trial"]["number"], "params": best["params"], "values": best["values"]}
    shown = [
        {"trial": trial["number"], "params": trial["params"], "values": trial["values"]}
        for trial in (front["data"] if front is not None else [])
    ]
    return {"front": shown} if shown else None


def _output(study: Study, found: Json) -> bytes:
    whole = {"study": {"id": study.id, "name": study.name, "state": study.state}, **found}
    return (json.dumps(whole, indent=2, allow_nan=False) + "\n").encode()


def _look_again(study: Study) -> str:
    return f"look again with `tuneup status {study.id}`, end it with `tuneup cancel {study.id}`"
