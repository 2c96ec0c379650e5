"""Crash points and planted bugs, switched on by variables that only the harness sets.

TUNEUP_FAULTS_SEED    at each crash point the process dies, or stumbles, with a small probability drawn from this seed
TUNEUP_FAULTS_CRASH   `POINT@N`: the process dies at its N-th passage of that crash point, counted from 1
TUNEUP_FAULTS_BUG     the bug of this name is planted
TUNEUP_FAULTS_ORACLE  where to note a death by one of ours, and of each nudge whether it left inside a unit of work
"""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any

from tests.faults.bugs import BUGS
from tests.faults.oracle import Oracle
from tests.faults.patches import Patch, hook

Stumble = Callable[[str], None]

# What a process does at a crash point, and how often: writes pass by all the time, a claim or a sweep now and then.
POINTS: Mapping[str, float] = {
    "a write worked, not committed": 0.002,
    "a write committed, not answered": 0.002,
    "a request worked, not committed": 0.01,
    "a request committed, not answered": 0.01,
    "work to be done, not nudged": 0.01,
    "a trial claimed, not started": 0.02,
    "a trial trained, its result not written": 0.02,
    "dead leases read, not taken back": 0.01,
}
_KILLED = 0.5  # of those that stumble at all; the others stand still for a moment
_LONGEST_SECONDS = 0.5

_place = threading.local()


def install(environ: Mapping[str, str]) -> None:
    """Plant what the environment asks for in this process, before anything of the product is imported."""
    patches: list[Patch] = []
    if "TUNEUP_FAULTS_BUG" in environ:
        patches += BUGS[environ["TUNEUP_FAULTS_BUG"]].patches
    if "TUNEUP_FAULTS_CRASH" in environ:
        point, _, passage = environ["TUNEUP_FAULTS_CRASH"].partition("@")
        patches += crash_points(planned(point, int(passage), die=partial(_die, environ)))
    elif "TUNEUP_FAULTS_SEED" in environ:
        patches += crash_points(seeded(int(environ["TUNEUP_FAULTS_SEED"]), die=partial(_die, environ)))
    if "TUNEUP_FAULTS_ORACLE" in environ:
        patches += witnesses(partial(_note, environ))
    hook(patches)


def seeded(seed: int, *, die: Stumble) -> Stumble:
    """Say at each passage of a crash point, by chance, whether this process goes on, waits, or dies."""
    dice = random.Random(f"{seed} {sys.argv[:1]} {os.getpid()}")

    def stumble(point: str) -> None:
        if dice.random() >= POINTS[point]:
            return
        if dice.random() < _KILLED:
            die(point)
        else:
            time.sleep(dice.uniform(0, _LONGEST_SECONDS))

    return stumble


def planned(point: str, passage: int, *, die: Stumble) -> Stumble:
    """Die at one passage of one crash point. Raise KeyError where there is no such point."""
    passed: Counter[str] = Counter()
    if point not in POINTS:
        raise KeyError(point)

    def stumble(here: str) -> None:
        passed[here] += 1
        if here == point and passed[here] == passage:
            die(here)

    return stumble


def _die(environ: Mapping[str, str], point: str) -> None:
    """End this process as a power cut would; leave a note outside first, for whoever asks why a worker fell silent."""
    if "TUNEUP_FAULTS_ORACLE" in environ:
        for event in ("begin", "end"):
            _note(environ, "fault", event=event, name=f"crash point: {point}", target=os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


def _note(environ: Mapping[str, str], kind: str, **fields: Any) -> None:
    oracle = Oracle(Path(environ["TUNEUP_FAULTS_ORACLE"]))
    oracle.write(kind, **fields)
    oracle.close()


def witnesses(note: Callable[..., None]) -> list[Patch]:
    """Return the patches that note of each nudge whether what it was sent for can be seen: it left after the commit."""

    def units(run: Any, _: Any) -> Any:
        def ran(self: Any, work: Any, options: Any) -> Any:
            _place.inside = True
            try:
                return run(self, work, options)
            finally:
                _place.inside = False

        return ran

    def nudges(nudge: Any, _: Any) -> Any:
        def nudged(self: Any, queues: Any) -> Any:
            named = list(queues)
            for queue in named:
                note("nudge", event="sent", queue=queue, visible=not getattr(_place, "inside", False), pid=os.getpid())
            return nudge(self, named)

        return nudged

    return [Patch("models.session:Database._run", units), Patch("workers.queue:Doorbell.nudge", nudges)]


def crash_points(stumble: Stumble) -> list[Patch]:
    """Return the patches that call `stumble` with the name of each crash point that is passed."""

    def requests(perform: Any, _: Any) -> Any:
        @wraps(perform)
        def performed(*given: Any, **more: Any) -> Any:
            _place.request = True
            try:
                return perform(*given, **more)
            finally:
                _place.request = False

        return performed

    def writes(run: Any, _: Any) -> Any:
        def ran(self: Any, work: Any, options: Any) -> Any:
            if options.get("tuneup_mode") != "IMMEDIATE":
                return run(self, work, options)
            kind = "request" if getattr(_place, "request", False) else "write"

            def worked(connection: Any) -> Any:
                done = work(connection)
                stumble(f"a {kind} worked, not committed")
                return done

            result = run(self, worked, options)
            stumble(f"a {kind} committed, not answered")
            return result

        return ran

    def before(point: str) -> Callable[[Any, Any], Any]:
        return lambda original, _: _around(original, enter=lambda: stumble(point))

    def after(point: str) -> Callable[[Any, Any], Any]:
        return lambda original, _: _around(original, leave=lambda: stumble(point))

    return [
        Patch("api.idempotency:perform", requests),
        Patch("api.idempotency:perform_in_two", requests),
        Patch("models.session:Database._run", writes),
        Patch("workers.queue:Doorbell.nudge", before("work to be done, not nudged")),
        Patch("workers.line:Line.start", before("a trial claimed, not started")),
        Patch("workers.outbox:Outbox.finish", before("a trial trained, its result not written")),
        Patch("workers.reaper:Reaper._observe", after("dead leases read, not taken back")),
    ]


def _around(
    original: Any, *, enter: Callable[[], None] = lambda: None, leave: Callable[[], None] = lambda: None
) -> Any:
    @wraps(original)
    def wrapped(*given: Any, **more: Any) -> Any:
        enter()
        result = original(*given, **more)
        leave()
        return result

    return wrapped
