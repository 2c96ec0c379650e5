"""A ledger and its model side by side: what is done to one is told to the other, and after every act both must agree.

The rules by which they live are in `tests.models.machine`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import count, groupby
from typing import Any

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant
from sqlalchemy import delete

from models.session import Database, Work
from models.states import TrialState
from models.tables import Study as StudyRow
from search.errors import TuneupError
from search.trials import asking
from search.trials.claiming import Claimer
from search.trials.dispatch import Claim
from tests.models.life import Outcome, Study, Trial
from tests.support.ledger import Ledger, WallClock, broken_promises
from workers.reaper import Reaper

WORKERS = ("ann", "bob", "cid")
CLIENT = asking.holder("zoe")
MOST_STUDIES = 3
LEASE, PERIOD = 30.0, 15.0
# A reaper that did not look for longer than this trusts nothing it saw before.
NAP = LEASE / 2 + PERIOD + 1
YEAR = 366 * 86400.0


# A study, a trial's number, an attempt.
Place = tuple[int, int, int]


class Fate(Enum):
    """What becomes of a unit of work."""

    WELL = "well"
    DIES = "dies before the commit"
    REPEATS = "the reply is lost, the unit runs again"


class Died(BaseException):
    """The process is gone; no handler for errors may see it."""


class Snapshot(Ledger):
    """A ledger that is not read again: what was read of it stands for it."""

    def __init__(self, ledger: Ledger, rows: dict[str, list[Any]]) -> None:
        super().__init__(ledger.database, ledger.project, ledger.clock)
        self.read_before = rows

    def dump(self) -> dict[str, list[Any]]:
        return self.read_before


@dataclass(frozen=True, slots=True)
class Answer:
    """What an act returned, or the refusal it raised."""

    value: Any = None
    refused: type[TuneupError] | None = None


@dataclass(slots=True)
class Held:
    """A lease: who has it, its heartbeats, and the claim (None: its holder never heard of it)."""

    worker: str
    place: Place
    beats: int = 0
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """A claim whose lease is no more, and the outcome by which its worker ended it, if it did."""

    worker: str
    claim: Claim
    outcome: Outcome | None = None


class Witness(RuleBasedStateMachine):
    """Holds what three workers, a client and two reapers know, starting from an empty ledger."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        wipe(ledger)
        ledger.clock.now = WallClock().now
        self.rows = ledger.dump()
        self.studies: dict[int, Study] = {}
        self.held: dict[str, Held] = {}
        self.gone: list[Gone] = []
        self.told: list[tuple[str, Place]] = []
        self.seen: set[str] = set()
        self.claimer = Claimer(ledger.database, clock=ledger.clock)
        self.workers = {name: ledger.worker(name) for name in WORKERS}
        self.monotonic = 1000.0
        self.reapers = [self._reaper() for _ in range(2)]
        # Drawn in order, so that which of two studies is served first does not change when a life is lived again.
        self.ids = count(1)
        self.sound = True

    def _reaper(self) -> Reaper:
        return Reaper(
            self.ledger.database,
            lease_seconds=LEASE,
            period_seconds=PERIOD,
            clock=self.ledger.clock,
            monotonic=lambda: self.monotonic,
        )

    @property
    def now(self) -> Any:
        return self.ledger.clock.now

    @property
    def mine(self) -> list[Held]:
        """The leases whose holders know of them."""
        return [held for held in self.held.values() if held.claim is not None]

    @property
    def running(self) -> set[tuple[int, int]]:
        """The trials that somebody holds, as (study, number)."""
        return {held.place[:2] for held in self.held.values()}

    @property
    def asked(self) -> list[tuple[str, Place]]:
        """Return the leases of the client."""
        return [(token, held.place) for token, held in self.held.items() if held.worker == CLIENT]

    def trial(self, place: Place) -> Trial:
        return self.studies[place[0]].trials[place[1]]

    def _expect_claim(self, capacity: int) -> list[Place]:
        """Let the model claim: of the studies with work the least served."""
        ready = [study for study in self.studies.values() if any(study.ready(1, self.now))]
        if not ready:
            return []
        study = min(ready, key=lambda study: (study.running, len(study.trials), study.id))
        return [(study.id, trial.number, trial.attempt) for trial in study.claim(capacity, self.now, together=True)]

    def _grant_unheard(self, holder: str, places: Sequence[Place]) -> None:
        """Note new leases of whoever is not among the workers, or never heard of them."""
        known = {held.place for held in self.held.values()}
        tokens = {place_of(row): row.token for row in self.ledger.rows("lease")}
        for place in places:
            if place not in known:
                self._hold(tokens[place], Held(holder, place))

    def _hold(self, token: str, held: Held) -> None:
        assert token not in self.seen, "a token was given twice"
        self.seen.add(token)
        self.held[token] = held

    def _why_stop(self, held: Held) -> str | None:
        return self.studies[held.place[0]].why_stop or self.trial(held.place).told

    def _end(self, outcomes: Mapping[str, Outcome], *, said: Outcome | None) -> None:
        """Let the model end what these tokens hold; what their workers know is stale from now on."""
        ended = [(self.held.pop(token), outcome) for token, outcome in outcomes.items()]
        for study_id, group in groupby(sorted(ended, key=_place), key=lambda each: each[0].place[0]):
            self.studies[study_id].end([(self.trial(one.place), outcome) for one, outcome in group], self.now)
        self.gone += [Gone(one.worker, one.claim, said) for one, _ in ended if one.claim is not None]

    def _lost(self, tokens: Sequence[str]) -> dict[str, Outcome]:
        """Say what it is to each of these that its worker fell silent: it was alone, or in company."""
        held = Counter((held.worker, held.place[0]) for held in self.held.values())
        lost = {token: self.held[token] for token in tokens}
        return {token: self.trial(one.place).lose(held[one.worker, one.place[0]]) for token, one in lost.items()}

    def _word(self, claim: Claim, outcome: Outcome) -> str:
        """Say how a result is answered that comes too late."""
        if claim.study_id not in self.studies:
            return "stale"
        return "repeated" if self.trial(claim.key).repeats(claim.attempt, outcome) else "stale"

    def _sweep(self, lookers: Iterable[int]) -> int:
        return sum(self.reapers[place].sweep() for place in lookers)

    # What must hold.

    def _do(self, fate: Fate, act: Callable[[], object]) -> Answer | None:
        """Do an act under a fate; None when it died, and then it has changed nothing."""
        self.sound = False
        if fate is Fate.DIES:
            with self._unchanged(), _fated(self.ledger.database, fate), pytest.raises((Died, TuneupError)):
                act()
            return None
        with _fated(self.ledger.database, fate):
            try:
                return Answer(act())
            except TuneupError as error:
                return Answer(refused=type(error))

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        self.sound = False
        yield
        assert self.ledger.dump() == self.rows

    @invariant()
    def model_and_ledger_agree(self) -> None:
        self.rows = rows = self.ledger.dump()
        studies = sorted(self.studies.values(), key=lambda study: study.id)
        trials = [(study.id, trial) for study in studies for trial in study.trials]
        assert [_counted(row) for row in rows["study"]] == [(study.id, *study.facts) for study in studies]
        assert [_stored(row) for row in rows["trial"]] == [(study, *trial.facts) for study, trial in trials]
        for row, (_, trial) in zip(rows["trial"], trials, strict=True):
            _settle_due(row, trial)
        assert {row.token: (row.worker, place_of(row), row.beat) for row in rows["lease"]} == {
            token: (held.worker, held.place, held.beats) for token, held in self.held.items()
        }
        assert {place_of(row): row.population for row in rows["attempt"] if row.finished_at is None} == {
            held.place: self.trial(held.place).company for held in self.held.values()
        }
        assert {(*place_of(row), row.step): row.values for row in rows["measurement"]} == {
            (study, trial.number, *at): {"val_loss": value}
            for study, trial in trials
            for at, value in trial.measured.items()
        }
        assert broken_promises(Snapshot(self.ledger, rows)) == []
        self.sound = True


@contextmanager
def _fated(database: Database, fate: Fate) -> Iterator[None]:
    """Let every unit of work written meanwhile meet this fate."""
    write = database.write

    def dying(work: Work[Any], **options: Any) -> None:
        write(lambda connection: _die(work(connection)), **options)

    def repeating(work: Work[Any], **options: Any) -> Any:
        write(work, **options)
        return write(work, **options)

    with pytest.MonkeyPatch.context() as patch:
        if fate is not Fate.WELL:
            patch.setattr(database, "write", dying if fate is Fate.DIES else repeating)
        yield


def _die(_: object) -> None:
    raise Died


def wipe(ledger: Ledger) -> None:
    """Everything hangs on a study."""
    with ledger.database.engine.begin() as connection:
        connection.execute(delete(StudyRow))


def _counted(row: Any) -> tuple[object, ...]:
    return row.id, row.state, row.budget, row.allocated, row.running, row.finished


def _place(ended: tuple[Held, Outcome]) -> Place:
    return ended[0].place


def place_of(row: Any) -> Place:
    return row.study_id, row.number, row.attempt


def _stored(row: Any) -> tuple[object, ...]:
    return row.study_id, row.number, row.state, row.attempt, (row.values or {}).get("val_loss")


def _settle_due(row: Any, trial: Trial) -> None:
    """The pause before another attempt is drawn at random within bounds; take over what was drawn."""
    if trial.state is TrialState.QUEUED and trial.due is not None:
        assert trial.due[0] <= row.next_run_at <= trial.due[1]
        trial.due = (row.next_run_at, row.next_run_at)
    elif trial.state is TrialState.QUEUED:
        assert row.next_run_at is None
