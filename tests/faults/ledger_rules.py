"""What the rows of one study must say of themselves, whatever happened. Each rule yields what contradicts it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import Any

from models.states import LIVE_STUDY, StudyState, TrialState
from search.definition.planning import plan_of
from search.scoring import score
from search.space.points import grid
from search.studies.views import read_definition
from tests.support import ledger

Tables = Mapping[str, list[Any]]  # the rows of one study by table, in the order of their keys
Rule = Callable[[Any, Tables], Iterator[str]]

# How many attempts of a trial may fail in one way: written down here once more, so that a slip there is seen here.
MOST_STRIKES = {"user_error": 1, "out_of_memory": 1, "timeout": 2, "poison": 3, "infrastructure": 5}


def _finite(study: Any, tables: Tables) -> Iterator[str]:
    del study
    for trial in tables["trial"]:
        if not all(map(_sound, _numbers(trial.params))):
            yield f"trial {trial.number} has the parameters {trial.params}"
        if trial.values is not None and not all(map(_number, trial.values.values())):
            yield f"trial {trial.number} has the values {trial.values}"
        if trial.score is not None and not isfinite(trial.score):
            yield f"trial {trial.number} has the score {trial.score}"
    for row in tables["measurement"]:
        if not all(map(_number, row.values.values())):
            yield f"trial {row.number}, attempt {row.attempt}, step {row.step} measured {row.values}"


def _numbers(found: Any) -> Iterator[float]:
    """Yield every float in a JSON value."""
    if isinstance(found, float):
        yield found
    elif isinstance(found, Mapping):
        for value in found.values():
            yield from _numbers(value)
    elif isinstance(found, list):
        for value in found:
            yield from _numbers(value)


def _sound(value: float) -> bool:
    return isfinite(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _log(study: Any, tables: Tables) -> Iterator[str]:
    """Each attempt began with one event and ended with one, and says of its end what that event says."""
    del study
    begins: dict[tuple[int, int], list[Any]] = defaultdict(list)
    ends: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for event in tables["event"]:
        if event.target == TrialState.RUNNING and event.number is not None:
            begins[event.number, event.attempt].append(event)
        if event.source == TrialState.RUNNING and event.number is not None:
            ends[event.number, event.attempt].append(event)
    for row in tables["attempt"]:
        key, name = (row.number, row.attempt), f"attempt {row.attempt} of trial {row.number}"
        if len(begins[key]) != 1:
            yield f"{name} began {len(begins[key])} times"
        if len(ends[key]) != (row.finished_at is not None):
            yield f"{name} ended {len(ends[key])} times by the log, its row says {row.finished_at}"
        for event in ends[key]:
            said, logged = (row.reason, row.finished_at), (event.reason and event.reason[:64], event.at)
            if said != logged:
                yield f"{name} ended {said}, event {event.seq} says {logged}"


def _strikes(study: Any, tables: Tables) -> Iterator[str]:
    del study
    forgiven = {trial.number: getattr(trial, "forgiven", 0) for trial in tables["trial"]}
    strikes = Counter(
        (row.number, row.reason.partition(":")[0])
        for row in tables["attempt"]
        if row.reason is not None and row.state != "released" and row.attempt > forgiven[row.number]
    )
    for (number, reason), count in strikes.items():
        if count > MOST_STRIKES.get(reason, count):
            yield f"trial {number} failed {count} times by {reason}"


def _tokens(study: Any, tables: Tables) -> Iterator[str]:
    """One token speaks for one attempt, for ever."""
    del study
    for token, count in Counter(row.token for row in tables["attempt"]).items():
        if token is not None and count > 1:
            holders = [(row.number, row.attempt) for row in tables["attempt"] if row.token == token]
            yield f"the token {token} was given out for each of the attempts {holders}"
    given = {(row.number, row.attempt): row.token for row in tables["attempt"]}
    for lease in tables["lease"]:
        if given.get((lease.number, lease.attempt)) not in {None, lease.token}:
            yield f"trial {lease.number} is held by a token that its attempt {lease.attempt} was not given"


def _grid(study: Any, tables: Tables) -> Iterator[str]:
    """A grid's points are distinct, and a study as large as its grid that completed has each of them."""
    if study.definition["search"]["strategy"] != "grid":
        return
    found = Counter(trial.grid_index for trial in tables["trial"])
    size = grid(plan_of(read_definition(study.definition))).count()
    twice = sorted((index for index, count in found.items() if count > 1), key=str)
    if twice:
        yield f"grid points came twice: {twice}"
    if set(found) - set(range(size)):
        yield f"trials without a point of the grid of {size}: {sorted(set(found) - set(range(size)), key=str)}"
    if study.state == StudyState.COMPLETED and study.closing is None and study.budget == size:
        missing = sorted(set(range(size)) - set(found))
        if missing:
            yield f"completed without the grid points {missing}"


def _budget(study: Any, tables: Tables) -> Iterator[str]:
    """A completed study of budget N has N trials, each finished."""
    trials = tables["trial"]
    if len(trials) > study.budget:
        yield f"{len(trials)} trials in a budget of {study.budget}"
    if study.state == StudyState.COMPLETED and study.closing is None and len(trials) != study.budget:
        yield f"completed with {len(trials)} trials in a budget of {study.budget}"


def _pruning(study: Any, tables: Tables) -> Iterator[str]:
    """One decision for each (trial, rung); a trial that is to stop is not completed, and one pruned was to stop."""
    rows = tables["rung"]
    for key, count in Counter((row.number, row.step) for row in rows).items():
        if count > 1:
            yield f"{count} decisions on trial {key[0]} at step {key[1]}"
    stopped = {row.number for row in rows if row.stop}
    standing = {row.number for row in rows if row.stop and not row.promoted}
    for trial in tables["trial"]:
        if trial.state == TrialState.COMPLETED and trial.number in standing:
            yield f"trial {trial.number} completed, and was to stop"
        if trial.state == TrialState.PRUNED and trial.number not in stopped and study.definition.get("pruning"):
            yield f"trial {trial.number} was pruned, and nothing decided so"


def _scores(study: Any, tables: Tables) -> Iterator[str]:
    """A trial is ranked by its own values."""
    definition = read_definition(study.definition)
    for trial in tables["trial"]:
        if trial.state == TrialState.COMPLETED and trial.score != score(definition, trial.values):
            yield f"trial {trial.number} has the score {trial.score} for {trial.values}"


def _checkpoints(study: Any, tables: Tables) -> Iterator[str]:
    """A file that may be resumed from is whole. One that is gone is passed over when the time comes."""
    del study
    for row in tables.get("checkpoint", ()):
        path = Path(row.path)
        if path.exists() and sha256(path.read_bytes()).hexdigest() != row.sha256:
            yield f"the checkpoint {path} of trial {row.number} is torn"


def _ended(study: Any, tables: Tables) -> Iterator[str]:
    """In a study that has ended nothing waits."""
    waiting = [trial.number for trial in tables["trial"] if trial.state == TrialState.QUEUED]
    if study.state not in LIVE_STUDY and waiting:
        yield f"{study.state}, and the trials {waiting} wait"


def _settled(study: Any, tables: Tables) -> Iterator[str]:
    """Once the faults are over, everything comes to its end."""
    if study.state in LIVE_STUDY:
        yield f"still {study.state}: {study.finished} of {study.allocated} trials finished, the budget is {study.budget}"
    open_trials = [trial.number for trial in tables["trial"] if trial.state in {TrialState.QUEUED, TrialState.RUNNING}]
    if open_trials:
        yield f"the trials {open_trials} never ended"
    if tables["lease"]:
        yield f"leases are left on {[(lease.number, lease.attempt) for lease in tables['lease']]}"


ALWAYS: Mapping[str, Rule] = {
    "numbers and budget": ledger.counters_agree,
    "attempts and leases": ledger.attempts_agree,
    "the log leads to the tables": ledger.events_agree,
    "values only where they belong": ledger.values_agree,
    "only finite numbers": _finite,
    "attempts as the log says": _log,
    "retries are bounded": _strikes,
    "one token for one attempt": _tokens,
    "each grid point once": _grid,
    "the budget exactly": _budget,
    "one pruning decision": _pruning,
    "ranked by its own values": _scores,
    "no torn checkpoint": _checkpoints,
    "nothing waits in what has ended": _ended,
}
SETTLED: Mapping[str, Rule] = {"everything ends": _settled}


def faults(study: Any, tables: Tables, *, settled: bool) -> Iterator[str]:
    """Yield what in the rows of one study contradicts a rule, the rule named first."""
    for name, rule in {**ALWAYS, **(SETTLED if settled else {})}.items():
        yield from ask(name, partial(rule, study, tables))


def ask(name: str, rule: Callable[[], Iterator[str]]) -> Iterator[str]:
    """Yield what a rule says, its name first. Rows that a rule cannot even read are a violation too."""
    try:
        yield from (f"{name}: {said}" for said in rule())
    except Exception as error:  # noqa: BLE001  whatever a broken ledger holds, the other rules are still asked
        yield f"{name}: the rows cannot be read: {error!r}"
