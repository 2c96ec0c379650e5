"""What was promised over HTTP must stand in the database: nothing lost, nothing doubled, nothing taken back."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from models.ids import read_study, read_trial, show_study, show_trial
from models.states import TrialState
from tests.faults.history import Exchange
from tests.faults.world import Rule, World


def _created(world: World) -> Iterator[str]:
    deleted = {
        study for study, exchange in world.seen.studies("DELETE", "/studies") if not exchange.refused or _gone(exchange)
    }
    for _, exchange in world.seen.to("POST", "/studies"):
        study_id = read_study(exchange.reply["id"]) if exchange.accepted else None
        if study_id is not None and study_id not in world.studies and study_id not in deleted:
            yield f"study {show_study(study_id)} was acknowledged under the key {exchange.key} and is not there"


def _gone(exchange: Exchange) -> bool:
    return exchange.status == 404  # an earlier request did it, and its reply was lost


def _deleted(world: World) -> Iterator[str]:
    for study_id, exchange in world.seen.studies("DELETE", "/studies"):
        if exchange.accepted and study_id in world.studies:
            yield f"study {show_study(study_id)} was deleted, so it was said, and is there"


def _keys(world: World) -> Iterator[str]:
    """One key, one reply; and one study for each key that asked for one of that name."""
    replies: dict[str, set[str]] = defaultdict(set)
    for exchange in world.seen.exchanges:
        if exchange.key is not None and exchange.accepted:
            replies[exchange.key].add(json.dumps(exchange.reply, sort_keys=True))
    for key, said in replies.items():
        if len(said) > 1:
            yield f"the key {key} got {len(said)} different replies: {sorted(said)}"
    for (_, name), count in Counter((row.project_id, row.key) for row in world.keys).items():
        if count > 1:
            yield f"the key {name} is stored {count} times"
    # An ask may need two transactions; its key stands without a reply meanwhile.
    asks = {exchange.key for _, exchange in world.after.studies("POST", "/studies/trials:ask")}
    for row in world.keys:
        if (row.status is None or row.body is None) and row.key not in asks:
            yield f"the key {row.key} is stored without its reply"


def _once(world: World) -> Iterator[str]:
    """As many studies of a name as there were requests for one; the same key again asks for nothing new."""
    asked: dict[str, set[str]] = defaultdict(set)
    for place, (_, exchange) in enumerate(world.after.to("POST", "/studies")):
        if isinstance(exchange.body, Mapping):
            asked[exchange.body["name"]].add(exchange.key or f"request {place}")
    renamed = {study for study, exchange in world.after.studies("PATCH", "/studies") if "name" in (exchange.body or {})}
    made: dict[str, list[str]] = defaultdict(list)
    for study_id, (study, _) in world.studies.items():
        if study_id not in renamed:
            made[study.name].append(show_study(study_id))
    for name, ids in made.items():
        if name in asked and len(ids) > len(asked[name]):
            yield f"{len(ids)} studies {ids} for the {len(asked[name])} keys that asked for {name!r}"


# What a trial may be that was told so: a stop decision outlives a result, and a person may ask for another try.
_ALLOWED: Mapping[str, set[str]] = {
    "completed": {"completed", "pruned"},
    "failed": {str(state) for state in TrialState},
}


def _told(world: World) -> Iterator[str]:
    """An accepted result stands, with its values."""
    trials = {(key, row.number): row for key, (_, tables) in world.studies.items() for row in tables["trial"]}
    for (study_id, number), exchange in world.seen.trials("POST", "/trials:tell"):
        if not exchange.accepted or study_id not in world.studies:
            continue
        trial = trials.get((study_id, number))
        state, values = exchange.body.get("state", "completed"), exchange.body.get("values")
        if exchange.reply["state"] == "cancelled":
            # It had been cancelled before it was told, and was answered so.
            state, values = "cancelled", None
        allowed = _ALLOWED.get(state, {state})
        if trial is None or trial.state not in allowed:
            yield f"trial {show_trial(study_id, number)} was told {state}, and is {trial and trial.state}"
        elif state == "completed" and values is not None and trial.values != values:
            yield f"trial {show_trial(study_id, number)} was told {values}, and has {trial.values}"


def _measured(world: World) -> Iterator[str]:
    """An accepted measurement stands, with its values, in the attempt that its token speaks for."""
    stored = {
        (study_id, row.number, row.attempt, row.step): row.values
        for study_id, (_, tables) in world.studies.items()
        for row in tables["measurement"]
    }
    holders = world.holders()
    for (study_id, number), exchange in world.seen.trials("POST", "/trials/measurements"):
        if not exchange.accepted or study_id not in world.studies:
            continue
        place = holders.get(exchange.body["token"])
        for row in exchange.body["measurements"]:
            found = stored.get((*place, row["step"])) if place is not None else None
            if found != row["values"]:
                name = show_trial(study_id, number)
                yield f"trial {name} measured {row['values']} at step {row['step']}, and {found} is stored"


def _cancelled(world: World) -> Iterator[str]:
    """After an acknowledged cancel the study is cancelled, and no attempt began behind that in its log."""
    for study_id, exchange in world.seen.studies("POST", "/studies:cancel"):
        if not exchange.accepted or study_id not in world.studies:
            continue
        study, tables = world.studies[study_id]
        if study.state != "cancelled":
            yield f"study {show_study(study_id)} was cancelled, so it was said, and is {study.state}"
        ended = next(
            (event.seq for event in tables["event"] if event.number is None and event.target == "cancelled"), 0
        )
        late = [event.number for event in tables["event"] if event.target == "running" and event.seq > ended > 0]
        if late:
            yield f"study {show_study(study_id)} was cancelled, and its trials {late} began after that"


def _handed_out(world: World) -> Iterator[str]:
    """What `ask` handed out is an attempt with that token, and nobody else was given it."""
    holders = world.holders()
    given: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for study_id, exchange in world.seen.studies("POST", "/studies/trials:ask"):
        if not exchange.accepted or study_id not in world.studies:
            continue
        for trial in exchange.reply["data"]:
            given[trial["token"]].add((trial["id"], trial["attempt"]))
            if holders.get(trial["token"]) != (*(read_trial(trial["id"]) or (0, 0)), trial["attempt"]):
                yield f"trial {trial['id']} was handed out as attempt {trial['attempt']}, and that is not in the ledger"
    for token, places in given.items():
        if len(places) > 1:
            yield f"the token {token} was handed out for {sorted(places)}"


def _fenced(world: World) -> Iterator[str]:
    """Who asks with the token of an attempt that is over is refused, once a later attempt was handed out."""
    handed: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for _, exchange in world.seen.studies("POST", "/studies/trials:ask"):
        for trial in exchange.reply["data"] if exchange.accepted and exchange.answered is not None else ():
            handed[read_trial(trial["id"]) or (0, 0)].append((trial["attempt"], exchange.answered or 0.0))
    holders = world.holders()
    # The same request again gets the reply of the first one, however late.
    first: dict[str | None, float] = {}
    for exchange in world.seen.exchanges:
        first.setdefault(exchange.key, exchange.asked)
    for route in ("/trials/measurements", "/trials:tell"):
        for place, exchange in world.seen.trials("POST", route):
            mine = holders.get(exchange.body["token"], (0, 0, 0))[2]
            asked = exchange.asked if exchange.key is None else first[exchange.key]
            later = [attempt for attempt, at in handed[place] if attempt > mine and at < asked]
            if exchange.accepted and later and exchange.body.get("state") != "failed":
                yield f"trial {show_trial(*place)} took a write of attempt {mine} after attempt {max(later)} was handed out"


PROMISES: Mapping[str, Rule] = {
    "an acknowledged study is there": _created,
    "a deleted study is gone": _deleted,
    "one reply for one key": _keys,
    "one study for one key": _once,
    "an acknowledged result stands": _told,
    "an acknowledged measurement stands": _measured,
    "cancelled stays cancelled": _cancelled,
    "what is handed out is written down": _handed_out,
    "a stale token changes nothing": _fenced,
}
