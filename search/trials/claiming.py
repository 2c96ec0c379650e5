"""Claiming: trials with their parameters, for whoever asks.

Grid and random points are drawn in the claim's transaction; a model-based strategy reserves first, thinks outside any
lock, and fills the parameters under the claims' tokens.

A claimer keeps what is costly to rebuild (definitions, strategies with the history they have read); all it knows can be
lost at any moment. It may be used from several threads.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from models import candidates, claims, endings, enqueueing, filling, leases
from models.claims import Claimed
from models.endings import Ending
from models.ids import show_trial
from models.ledger import lock_study
from models.reservations import Reservation, reserve
from models.session import Connection, Database, Row, Unavailable, Work
from models.states import LIVE_STUDY, AttemptState, TrialState
from search.clock import Clock, utc_now
from search.definition.parse import StudyDefinition
from search.definition.searches import PbtSearch
from search.records import Suggestion
from search.space.sampling import derive_seed
from search.strategies.table import make
from search.studies.views import read_definition
from search.trials import duplicates, replicates, stopping
from search.trials.company import companions
from search.trials.knowledge import Known
from search.trials.resuming import Checkpoint, Leg, legs, resumable
from search.trials.sharing import share


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial to run: what, with which parameters, and the token every write about it must carry.

    `checkpoints` are what it may go on from, the newest first. `companions` is the most trials, itself included, that
    may share a trainer with it; None = any. It was lost when it had company, so it runs with half of it next, until it
    is alone, and stays so as long as it is lost: a trial that kills trainers or workers is found by halving. `leg` is
    the part of a lineage that it trains, where the study has lineages.
    """

    study_id: int
    number: int
    attempt: int
    token: str
    params: Mapping[str, Any]
    definition: StudyDefinition
    seed: int
    checkpoints: tuple[Checkpoint, ...] = ()
    companions: int | None = None
    leg: Leg | None = None

    @property
    def id(self) -> str:
        """The trial's public id."""
        return show_trial(self.study_id, self.number)

    @property
    def key(self) -> tuple[int, int, int]:
        """The attempt its token speaks for: (study, number, attempt)."""
        return self.study_id, self.number, self.attempt


@dataclass(frozen=True, slots=True)
class Wish:
    """What a worker would take: trials of its queue, or of one `study` of it alone, of which it holds `held` already.

    `objectives` are the registered ones that it can run, `capacity` is how many trials more it has room for, and
    `workers` how many could run them, itself included. Studies that it has left to others, `after`, come last, in this
    order.
    """

    worker: str
    queue: str
    capacity: int
    objectives: Sequence[str] = ()
    study: int | None = None
    workers: int = 1
    held: int = 0
    after: Sequence[int] = ()


_MOST_KNOWN = 32


class Claimer:
    """Claims trials from one database."""

    def __init__(self, database: Database, *, clock: Clock = utc_now) -> None:
        """Read the time for `next_run_at` and a study's seconds from `clock`."""
        self.database = database
        self.clock = clock
        self._known: dict[int, Known] = {}
        self._knowing = threading.Lock()

    def claim(self, wish: Wish) -> list[Claim]:
        """Take trials of one study, parameters and all; an empty list when there is nothing to do."""
        claimed = self._take_any(wish) if wish.study is None else self._take_of(wish.study, wish)
        try:
            return self._ready(claimed)
        except Unavailable:
            # Nobody beats for these yet: better given back than found dead, and held against the trials.
            with suppress(Unavailable):
                self.database.write(lambda connection: _give_back(connection, claimed, self.clock()))
            raise

    def hold(
        self, connection: Connection, study_id: int, *, client: str, count: int, seconds: float | None
    ) -> list[Claimed]:
        """Give a client up to `count` trials of one study, in the caller's transaction: those it holds already first.

        Their leases are renewed; new ones last `seconds` without a word from it (None = as long as the deployment's).
        Of a study that has ended there are none. What has no parameters yet is to be filled with `suggesting`.
        """
        # Under the study's lock, so that a twin of this request finds what this one took.
        study = lock_study(connection, study_id)
        if study is None or study.state not in LIVE_STUDY:
            return []
        held = claims.still_held(connection, study_id, client)[:count]
        if held:
            leases.beat(connection, [claim.token for claim in held])
        if len(held) == count:
            return held
        now = self.clock()
        found = self._reserve(connection, study_id, count - len(held), now)
        if found is None:
            return held
        admitted = stopping.admit(connection, found, now)
        if admitted is None:
            return held
        reservation, points = self._drawn(connection, self._know(connection, admitted.study), admitted)
        return held + claims.take(connection, reservation, points, worker=client, now=now, seconds=seconds, held=None)

    @contextmanager
    def suggesting(self, study_id: int, waiting: Sequence[Claimed]) -> Iterator[Work[list[Claimed]]]:
        """Find points for reserved trials, outside any transaction; yield the unit of work that writes them.

        The unit is fenced by the claims' tokens and returns those that still hold. Run it inside: until then the
        strategy serves nobody else, so that whoever comes next sees these points.
        """
        known = self._known_of(study_id)
        ordered = sorted(waiting, key=lambda claim: claim.draw or 0)
        with known.lock:
            self._read_history(study_id, known)
            suggestions: list[Suggestion] = []
            for draws in _runs([claim.draw for claim in ordered if claim.draw is not None]):
                suggestions += known.strategy.suggest(draws)
            yield lambda connection: _fill(connection, study_id, known, ordered, suggestions)

    def _take_any(self, wish: Wish) -> list[Claimed]:
        """Try one study after another, each in a transaction of its own: two row locks held at once could cross."""
        passed = set(wish.after)
        while True:
            study_id, claimed = self.database.write(partial(self._take, wish=wish, passed=frozenset(passed)))
            if claimed:
                return claimed
            if study_id is None:
                return self._take_first(wish.after, wish)
            passed.add(study_id)

    def _take_first(self, studies: Sequence[int], wish: Wish) -> list[Claimed]:
        """Claim from the first of these that has work."""
        return next(filter(None, (self._take_of(study_id, wish) for study_id in studies)), [])

    def _take(self, connection: Connection, wish: Wish, passed: frozenset[int]) -> tuple[int | None, list[Claimed]]:
        """Claim from the first study that may have work and was not passed over yet."""
        study_id = candidates.find_candidate(
            connection, queue=wish.queue, objectives=wish.objectives, passed=passed, now=self.clock()
        )
        if study_id is None:
            return None, []
        return study_id, self._take_from(connection, study_id, wish)

    def _take_of(self, study_id: int, wish: Wish) -> list[Claimed]:
        return self.database.write(lambda connection: self._take_from(connection, study_id, wish))

    def _take_from(self, connection: Connection, study_id: int, wish: Wish) -> list[Claimed]:
        now = self.clock()
        found = self._reserve(connection, study_id, wish.capacity, now)
        if found is None or found.study.queue != wish.queue:
            return []
        admitted = stopping.admit(connection, found, now)
        if admitted is None:
            return []
        known = self._know(connection, found.study)
        fair = _shared(admitted, known.definition, wish)
        if fair is None:
            return []
        reservation, points = self._drawn(connection, known, fair)
        again = {row.number: row.attempt + 1 for row in reservation.again if row.attempt}
        limits = companions(connection, study_id, again)
        return claims.take(
            connection, reservation, points, worker=wish.worker, now=now, held=wish.held, companions=limits
        )

    def _reserve(self, connection: Connection, study_id: int, capacity: int, now: datetime) -> Reservation | None:
        """Reserve; where there is nothing, do what is due in the study and look again if that brought something."""
        found = reserve(connection, study_id, capacity=capacity, now=now)
        if found is None and replicates.go_on(connection, study_id, now):
            return reserve(connection, study_id, capacity=capacity, now=now)
        return found

    def _know(self, connection: Connection, study: Row[Any]) -> Known:
        with self._knowing:
            known = self._known.get(study.id)
            if known is None:
                definition = read_definition(claims.stored_definition(connection, study.id))
                known = Known(definition, study.seed, make(definition, study.seed))
                self._known[study.id] = known
                if len(self._known) > _MOST_KNOWN:
                    # The oldest goes; what it knew is read again should its study come up once more.
                    del self._known[next(iter(self._known))]
            return known

    def _drawn(
        self, connection: Connection, known: Known, found: Reservation
    ) -> tuple[Reservation, list[dict[str, Any]]]:
        """Fill the parameters of strategies without a history now; the others reserve only.

        A grid passes over the draws whose points were stored by hand, so that none comes twice.
        """
        first, count = found.study.drawn, len(found.numbers)
        if known.strategy.reads_history:
            return found, [{"params": None, "origin": "model", "why": {}} for _ in range(count)]
        by_hand = known.definition.search.strategy == "grid" and found.study.allocated > first and count > 0
        taken = enqueueing.placed(connection, found.study.id) if by_hand else {}
        kept: list[tuple[int, dict[str, Any]]] = []
        with known.lock:
            while len(kept) < count:
                draws = range(first, first + count - len(kept))
                points = [_point(suggestion) for suggestion in known.strategy.suggest(draws)]
                kept += [pair for pair in zip(draws, points, strict=True) if pair[1]["grid_index"] not in taken]
                first = draws.stop
        return replace(found, draws=[draw for draw, _ in kept]), [point for _, point in kept]

    def _ready(self, claimed: Sequence[Claimed]) -> list[Claim]:
        """Complete a batch of one study: suggest what has no parameters yet, find what may be resumed."""
        if not claimed:
            return []
        study_id = claimed[0].study_id
        known = self._known_of(study_id)
        filled = [claim for claim in claimed if claim.params is not None]
        waiting = [claim for claim in claimed if claim.params is None]
        if waiting:
            filled += self._suggest(study_id, waiting)
        again = {claim.number: claim.attempt for claim in filled if claim.attempt > 1}
        kept = self.database.read(partial(resumable, study_id=study_id, attempts=again)) if again else {}
        found = self._legs(study_id, known, [claim.number for claim in filled])
        return [_claim(known, claim, kept.get(claim.number, ()), found.get(claim.number)) for claim in filled]

    def _legs(self, study_id: int, known: Known, numbers: Sequence[int]) -> Mapping[int, Leg]:
        search = known.definition.search
        if not numbers or not isinstance(search, PbtSearch):
            return {}
        return self.database.read(lambda connection: legs(connection, study_id, search, numbers))

    def _known_of(self, study_id: int) -> Known:
        known = self._known.get(study_id)
        if known is not None:
            return known
        return self.database.read(lambda c: self._know(c, claims.study_of(c, study_id)))

    def _suggest(self, study_id: int, waiting: Sequence[Claimed]) -> list[Claimed]:
        """Ask a model-based strategy, outside any lock of the database, and write its points under the claims' tokens."""
        with self.suggesting(study_id, waiting) as fill:
            return self.database.write(fill)

    def _read_history(self, study_id: int, known: Known) -> None:
        known.learn(self.database.read(lambda connection: known.news(connection, study_id)))


def _give_back(connection: Connection, claimed: Sequence[Claimed], now: datetime) -> None:
    given_back = [
        Ending(
            number=claim.number,
            attempt=claim.attempt,
            token=claim.token,
            target=TrialState.QUEUED,
            reason="released",
            attempt_state=AttemptState.RELEASED,
        )
        for claim in claimed
    ]
    endings.end(connection, claimed[0].study_id, given_back, now=now)


def _fill(
    connection: Connection,
    study_id: int,
    known: Known,
    waiting: Sequence[Claimed],
    suggestions: Sequence[Suggestion],
) -> list[Claimed]:
    study = lock_study(connection, study_id)
    if study is None:
        return []
    distinct = duplicates.settle(connection, study_id, known.definition, known.seed, waiting, suggestions)
    points = {claim.token: _point(s) for claim, s in zip(waiting, distinct, strict=True)}
    filled = filling.fill(connection, study, [(claim, points[claim.token]) for claim in waiting])
    return [claim for claim in filled if claim.params is not None]


def _shared(found: Reservation, definition: StudyDefinition, wish: Wish) -> Reservation | None:
    """Leave the other workers their share; None when this worker has its own already. Who takes one leaves enough."""
    if wish.capacity <= 1:
        return found
    study, open_trials, workers = found.study, found.open, wish.workers
    fair = share(definition, budget=study.budget, finished=study.finished, open_trials=open_trials, workers=workers)
    return found.cut(fair - wish.held) if fair > wish.held else None


def _claim(known: Known, claimed: Claimed, kept: tuple[Checkpoint, ...], leg: Leg | None) -> Claim:
    return Claim(
        study_id=claimed.study_id,
        number=claimed.number,
        attempt=claimed.attempt,
        token=claimed.token,
        params=claimed.params or {},
        definition=replicates.running_definition(known.definition, claimed.origin),
        seed=derive_seed(known.seed, claimed.number),
        checkpoints=kept + (() if leg is None else leg.checkpoints),
        companions=claimed.companions,
        leg=leg,
    )


def _point(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "params": dict(suggestion.params),
        "origin": suggestion.origin,
        "grid_index": suggestion.grid_index,
        "dedupe_key": suggestion.dedupe_key,
        "why": dict(suggestion.why),
        "parent": suggestion.parent,
    }


def _runs(draws: Sequence[int]) -> list[range]:
    """Split sorted draw indices into unbroken runs."""
    runs: list[range] = []
    for draw in draws:
        if runs and runs[-1].stop == draw:
            runs[-1] = range(runs[-1].start, draw + 1)
        else:
            runs.append(range(draw, draw + 1))
    return runs
