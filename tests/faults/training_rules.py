"""What was trained, and what stands: nothing that never was, nothing trained twice, nothing taken from the living."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from models.ids import show_study, show_trial
from tests.faults.history import History, Place
from tests.faults.world import Rule, World

# Faults of these kinds take no time from a worker, so none of them excuses that a living one lost its trial.
_HARMLESS = (
    *("clock", "redis", "restart redis", "flush redis", "many nudges", "forged nudges"),
    *("kill api", "terminate api", "stop api"),
    *("cancel", "pause", "change budget", "retry"),
)
# What a fault did may be felt for a while: a lease, two looks of the reaper, a process that starts again.
_AFTERMATH_SECONDS = 15.0


def _produced(world: World) -> Iterator[str]:
    """What is stored of an attempt was seen in that attempt. Of a study whose trainers write no oracle nothing is known."""
    seen = _seen_values(world)
    watched = {study_id for study_id, _, _ in world.after.trained}
    for study_id, (study, tables) in world.studies.items():
        if "recipe" in study.definition["objective"] and study_id not in watched:
            continue
        resumed = {row.number for row in tables.get("checkpoint", ())}
        for trial in tables["trial"]:
            attempts = range(1 if trial.number in resumed else trial.attempt, trial.attempt + 1)
            known = set[float]().union(*(seen[study_id, trial.number, attempt] for attempt in attempts))
            if trial.values is not None and not set(trial.values.values()) <= known:
                name = show_trial(study_id, trial.number)
                yield f"attempt {trial.attempt} of trial {name} never had the values {trial.values}"
        for row in tables["measurement"]:
            if not set(row.values.values()) <= seen[study_id, row.number, row.attempt]:
                name = show_trial(study_id, row.number)
                yield f"attempt {row.attempt} of trial {name} never measured {row.values} at step {row.step}"


def _seen_values(world: World) -> dict[Place, set[Any]]:
    seen: dict[Place, set[Any]] = defaultdict(set)
    for place, lines in world.after.trained.items():
        seen[place] |= {line["value"] for line in lines if line["event"] == "step"}
    holders = world.holders()
    for route in ("/trials:tell", "/trials/measurements"):
        for _, exchange in world.after.trials("POST", route):
            body = exchange.body or {}
            if body.get("token") in holders and not exchange.refused:
                for row in (body, *body.get("measurements", ())):
                    seen[holders[body["token"]]] |= set((row.get("values") or {}).values())
    return seen


def _alone(world: World) -> Iterator[str]:
    """One attempt is trained by one process, once."""
    for (study_id, number, attempt), lines in world.seen.trained.items():
        starts = [line["pid"] for line in lines if line["event"] == "start"]
        if len(starts) > 1:
            yield f"attempt {attempt} of trial {show_trial(study_id, number)} was trained by the processes {starts}"


def _spared(world: World) -> Iterator[str]:
    """A worker that lives, and that no fault has silenced, keeps its trial."""
    for study_id, (_, tables) in world.studies.items():
        for row in tables["attempt"]:
            if row.state == "lost" and row.reason in {"infrastructure", "lane"}:
                place = (study_id, row.number, row.attempt)
                if _lived_on(world.seen, place) and not _silenced(world.seen, place):
                    yield f"attempt {row.attempt} of trial {show_trial(study_id, row.number)} was taken from a living worker"


def _lived_on(seen: History, place: Place) -> bool:
    """Say whether an attempt was still at work when the next one had begun."""
    lines, following = seen.trained.get(place, ()), seen.trained.get((*place[:2], place[2] + 1), ())
    return bool(lines) and bool(following) and lines[-1]["at"] > following[0]["at"]


def _silenced(seen: History, place: Place) -> bool:
    first, last = (seen.trained[place][end]["at"] for end in (0, -1))
    return any(
        fault.begin <= last and fault.end + _AFTERMATH_SECONDS >= first and not fault.name.startswith(_HARMLESS)
        for fault in seen.faults
    )


def _nudged(world: World) -> Iterator[str]:
    """Whoever follows a nudge finds what it was sent for: it leaves after the commit."""
    for line in world.seen.nudges:
        if not line["visible"]:
            yield f"a nudge for the queue {line['queue']} was sent before its work was there to be seen"


def _parallel(world: World) -> Iterator[str]:
    """By its log a study never has more trials running than it allows. One that was told another limit is passed over."""
    told = {study for study, call in world.after.studies("PATCH", "/studies") if "parallelism" in (call.body or {})}
    for study_id, (study, tables) in world.studies.items():
        running = most = 0
        for event in tables["event"]:
            if event.number is not None:
                running += (event.target == "running") - (event.source == "running")
                most = max(most, running)
        if study.parallelism is not None and study_id not in told and most > study.parallelism:
            yield f"study {show_study(study_id)} had {most} trials running, and allows {study.parallelism}"


def _whole(world: World) -> Iterator[str]:
    """A checkpoint's name is that of a whole file, whoever was killed while it was written."""
    for line in world.seen.checkpoints:
        path = Path(line["path"])
        if path.exists() and sha256(path.read_bytes()).hexdigest() != line["sha256"]:
            yield f"the checkpoint {path} has {path.stat().st_size} bytes and is not what was to be written"


TRAINING: Mapping[str, Rule] = {
    "no invention": _produced,
    "one process for one attempt": _alone,
    "a living worker keeps its trial": _spared,
    "a nudge leaves after the commit": _nudged,
    "no more at a time than allowed": _parallel,
    "no torn checkpoint": _whole,
}
