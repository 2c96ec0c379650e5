"""Random lives of studies: every act is done to the ledger and to the model of it, and both must say the same.

An act may meet a fate: the process dies just before the commit (nothing happened), or the commit's reply is lost and
the unit runs again (it happened once; of a worker's claim, whose first half nobody will ever answer for, twice).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from models.claims import Claimed
from models.ids import show_study, show_trial
from models.session import Connection, Work
from models.states import TrialState
from search.errors import Conflict, InvalidStudy, NotFound
from search.studies import interventions, service
from search.trials import asking, remote
from search.trials.dispatch import Claim, Report, Result, Verdict
from search.trials.failures import Failure
from tests.models.life import ATTEMPTS, GRID_POINTS, LIVE, REDUCTION, STEPS, Outcome, Study
from tests.models.witness import (
    CLIENT,
    LEASE,
    MOST_STUDIES,
    NAP,
    PERIOD,
    WORKERS,
    YEAR,
    Fate,
    Held,
    Place,
    Witness,
    wipe,
)
from tests.support.ledger import definition

OUTCOMES = st.one_of(
    st.builds(Outcome, st.just(TrialState.COMPLETED), st.sampled_from([0.25, 0.5])),
    st.just(Outcome(TrialState.DIVERGED)),
    st.just(Outcome(TrialState.QUEUED)),
    st.sampled_from([Outcome(TrialState.FAILED, failure=kind.value) for kind in Failure if kind.value in ATTEMPTS]),
)
FATES = st.sampled_from([Fate.WELL, Fate.WELL, Fate.WELL, Fate.REPEATS, Fate.DIES])
LOOKERS = st.sampled_from([(0,), (1,), (0, 1)])
PICKS = st.integers(0, 11)
VALUES = st.sampled_from([0.25, 0.5, 1.0])
NOT_FINITE = st.sampled_from([float("nan"), float("inf"), float("-inf")])


class TrialLife(Witness):
    """The acts of three workers, two reapers and a person on an empty ledger; it leaves the ledger empty again."""

    # Studies, as a person sees them.

    @initialize(grid=st.booleans(), budget=st.integers(1, 6))
    def first_study(self, grid: bool, budget: int) -> None:
        self.create(grid, budget, None, None, False, Fate.WELL)

    @precondition(lambda self: len(self.studies) < MOST_STUDIES)
    @rule(
        grid=st.booleans(),
        budget=st.integers(1, 6),
        parallelism=st.sampled_from([None, 1, 2]),
        max_failed=st.sampled_from([None, 1]),
        prunes=st.booleans(),
        fate=FATES,
    )
    def create(
        self, grid: bool, budget: int, parallelism: int | None, max_failed: int | None, prunes: bool, fate: Fate
    ) -> None:
        study = Study(next(self.ids), grid, budget, parallelism, max_failed, prunes)
        raw = _posted(study)

        def unit(connection: Connection) -> object:
            return service.create_study(connection, self.ledger.project, raw, now=self.now, study_id=study.id)

        if self._do(fate, lambda: self.ledger.database.write(unit)) is not None:
            self.studies[study.id] = study

    @precondition(lambda self: self.studies)
    @rule(pick=PICKS, verb=st.sampled_from(["pause", "resume", "cancel"]), fate=FATES)
    def turn(self, pick: int, verb: str, fate: Fate) -> None:
        study = _pick(self.studies.values(), pick)
        unit: Callable[..., object] = getattr(service, f"{verb}_study")
        answer = self._do(fate, lambda: self.ledger.act(unit, show_study(study.id)))
        if answer is not None:
            assert answer.refused is (None if getattr(study, verb)() else Conflict)

    @precondition(lambda self: self.studies)
    @rule(pick=PICKS, budget=st.integers(0, 8), fate=FATES)
    def edit_budget(self, pick: int, budget: int, fate: Fate) -> None:
        study = _pick(self.studies.values(), pick)
        edits = {"budget": {"trials": budget}}
        answer = self._do(fate, lambda: self.ledger.act(service.change_study, show_study(study.id), edits))
        if answer is not None:
            allowed = budget > 0 and study.edit(budget)
            assert (answer.refused is None) == allowed
            assert answer.refused in {None, Conflict, InvalidStudy}

    @precondition(lambda self: self.studies)
    @rule(pick=PICKS, parallelism=st.sampled_from([None, 1, 2, 3]), fate=FATES)
    def edit_parallelism(self, pick: int, parallelism: int | None, fate: Fate) -> None:
        study = _pick(self.studies.values(), pick)
        edits = {"parallelism": parallelism}
        answer = self._do(fate, lambda: self.ledger.act(service.change_study, show_study(study.id), edits))
        if answer is not None:
            assert answer.refused is None
            study.parallelism = parallelism

    @precondition(lambda self: self.studies)
    @rule(pick=PICKS, fate=FATES)
    def delete(self, pick: int, fate: Fate) -> None:
        study = _pick(self.studies.values(), pick)

        def unit(connection: Connection) -> None:
            service.delete_study(connection, self.ledger.project, show_study(study.id))

        answer = self._do(fate, lambda: self.ledger.database.write(unit))
        if answer is None:
            return
        if not study.deletable():
            assert answer.refused is Conflict
            return
        assert answer.refused is (NotFound if fate is Fate.REPEATS else None)
        del self.studies[study.id]

    # One trial, as a person sees it.

    @precondition(lambda self: any(study.trials for study in self.studies.values()))
    @rule(pick=PICKS, verb=st.sampled_from(["retry", "cancel"]), fate=FATES)
    def intervene(self, pick: int, verb: str, fate: Fate) -> None:
        study, trial = _pick([(study, trial) for study in self.studies.values() for trial in study.trials], pick)
        unit: Callable[..., object] = getattr(interventions, f"{verb}_trial")
        answer = self._do(fate, lambda: self.ledger.act(unit, show_trial(study.id, trial.number)))
        if answer is None:
            return
        allowed = study.retry(trial) if verb == "retry" else study.cancel_trial(trial)
        assert answer.refused is (None if allowed else Conflict)

    # A client that asks for trials and tells what came out. It is as silent as the dead to the reapers.

    @precondition(lambda self: self.studies)
    @rule(pick=PICKS, count=st.integers(1, 3), fate=FATES)
    def ask(self, pick: int, count: int, fate: Fate) -> None:
        """What the client holds already comes first, however often it asks."""
        study = _pick(self.studies.values(), pick)

        def unit(connection: Connection) -> list[Claimed]:
            ask = asking.Ask("zoe", count, None)
            return asking.take(connection, self.ledger.project, show_study(study.id), ask, self.claimer)

        answer = self._do(fate, lambda: self.ledger.database.write(unit))
        if answer is None:
            return
        if fate is Fate.REPEATS:
            self._grant_unheard(CLIENT, self._expect_offer(study, count))
        expected = self._expect_offer(study, count)
        assert [(claim.study_id, claim.number, claim.attempt) for claim in answer.value] == expected
        if fate is not Fate.REPEATS:
            self._grant_unheard(CLIENT, expected)

    def _expect_offer(self, study: Study, count: int) -> list[Place]:
        """Let the model give the client what it holds of a live study, and then what it may have besides."""
        mine = [held for held in self.held.values() if held.worker == CLIENT and held.place[0] == study.id]
        held = sorted(mine, key=lambda held: held.place)[:count] if study.state in LIVE else []
        for one in held:
            one.beats += 1
        more = study.claim(count - len(held), self.now, together=False) if len(held) < count else []
        return [one.place for one in held] + [(study.id, trial.number, trial.attempt) for trial in more]

    @precondition(lambda self: self.told or self.asked)
    @rule(
        pick=PICKS,
        late=st.booleans(),
        outcome=OUTCOMES.filter(lambda outcome: outcome.failure in {None, "user_error"}),
        fate=FATES,
    )
    def tell(self, pick: int, late: bool, outcome: Outcome, fate: Fate) -> None:
        """A result is taken once, unless it was to stop; too late, it is taken only if it says what stands."""
        late = late if self.told and self.asked else not self.asked
        token, place = _pick(self.told if late else self.asked, pick)
        answer = self._do(fate, lambda: self._tell(token, place, outcome))
        if answer is None:
            return
        if not late:
            heard = outcome if self._why_stop(self.held[token]) is None else Outcome(TrialState.QUEUED)
            self._end({token: heard}, said=outcome)
            self.told.append((token, place))
            late = fate is Fate.REPEATS
        refused = None if not late or self._stands(place, outcome) else Conflict
        assert answer.refused is (refused if place[0] in self.studies else NotFound)

    def _tell(self, token: str, place: Place, outcome: Outcome) -> object:
        trial = show_trial(*place[:2])
        if outcome.target is TrialState.QUEUED:
            return self.ledger.act(remote.release, trial, token, None)
        values = None if outcome.value is None else {"val_loss": outcome.value}
        return self.ledger.act(remote.tell, trial, remote.Tell(token, outcome.target, values))

    def _stands(self, place: Place, outcome: Outcome) -> bool:
        if place[0] not in self.studies:
            return False
        trial = self.trial(place)
        # What is cancelled stays so, whatever is told of it.
        cancelled = (trial.attempt, trial.state) == (place[2], TrialState.CANCELLED)
        return cancelled or trial.repeats(place[2], outcome)

    @precondition(lambda self: self.asked)
    @rule(pick=PICKS, fate=FATES)
    def renew(self, pick: int, fate: Fate) -> None:
        token, place = _pick(self.asked, pick)
        answer = self._do(fate, lambda: self.ledger.database.write(self._renewal(token, place)))
        if answer is not None:
            trial, held = self.trial(place), self.held[token]
            held.beats += 2 if fate is Fate.REPEATS else 1
            assert (answer.value.reason is not None) == (self._why_stop(held) is not None or trial.stopped)

    def _renewal(self, token: str, place: Place) -> Work[remote.Renewal]:
        trial = show_trial(*place[:2])
        return lambda connection: remote.measure(connection, self.ledger.project, trial, token, [])

    # Workers.

    @rule(worker=st.sampled_from(WORKERS), capacity=st.integers(1, 3), fate=FATES)
    def claim(self, worker: str, capacity: int, fate: Fate) -> None:
        answer = self._do(fate, lambda: self.workers[worker].claim(queue="cpu", capacity=capacity))
        if answer is None:
            return
        if fate is Fate.REPEATS:
            self._grant_unheard(worker, self._expect_claim(capacity))
        assert [claim.key for claim in answer.value] == self._expect_claim(capacity)
        assert all(claim.companions == self.trial(claim.key).limit for claim in answer.value)
        for claim in answer.value:
            self._hold(claim.token, Held(worker, claim.key, claim=claim))

    @rule(worker=st.sampled_from(WORKERS), fate=FATES)
    def heartbeat(self, worker: str, fate: Fate) -> None:
        """Beat for all it ever held, lost or not."""
        held = [held for held in self.mine if held.worker == worker]
        claims = _claims(held) + [gone.claim for gone in self.gone if gone.worker == worker]
        answer = self._do(fate, lambda: self.workers[worker].heartbeat(claims))
        if answer is not None:
            self._beaten(held, answer.value, times=2 if fate is Fate.REPEATS else 1)

    def _beaten(self, held: Sequence[Held], said: Mapping[str, str | None], *, times: int = 1) -> None:
        assert said == {one.claim.token: self._why_stop(one) for one in held if one.claim}
        for one in held:
            one.beats += times

    @precondition(lambda self: self.mine)
    @rule(pick=PICKS, step=st.sampled_from(STEPS), value=VALUES, fate=FATES)
    def report(self, pick: int, step: int, value: float, fate: Fate) -> None:
        held = _pick(self.mine, pick)
        (claim,) = _claims([held])
        answer = self._do(fate, lambda: self.workers[held.worker].report([_report(claim, step, value)]))
        if answer is not None:
            (said,) = answer.value
            expected = self.studies[claim.study_id].report(self.trial(held.place), step, value)
            assert (said.accepted, said.stop) == expected

    @precondition(lambda self: len(self.mine) > 1)
    @rule(step=st.sampled_from(STEPS))
    def race(self, step: int) -> None:
        """Everything that runs reports at one step, the first of them the best."""
        for place in range(len(self.mine)):
            self.report(place, step, 0.25 * (place + 1), Fate.WELL)

    @precondition(lambda self: self.mine)
    @rule(pick=PICKS, value=NOT_FINITE, finishes=st.booleans())
    def not_finite(self, pick: int, value: float, finishes: bool) -> None:
        """What is no number is refused, in a measurement and in a result, and changes nothing.

        The result of a trial that was taken out is not looked at.
        """
        held = _pick(self.mine, pick)
        (claim,) = _claims([held])
        finishes = finishes and self.trial(held.place).told is None
        worker = self.workers[held.worker]
        result, report = _result(claim, Outcome(TrialState.COMPLETED, value)), _report(claim, STEPS[-1] + 1, value)
        with self._unchanged(), pytest.raises(ValueError, match="finite"):
            worker.finish([result]) if finishes else worker.report([report])

    @precondition(lambda self: self.mine)
    @rule(pick=PICKS, every=st.booleans(), outcome=OUTCOMES, fate=FATES)
    def finish(self, pick: int, every: bool, outcome: Outcome, fate: Fate) -> None:
        """End one attempt, or every one that the worker holds."""
        one = _pick(self.mine, pick)
        held = [held for held in self.mine if held.worker == one.worker] if every else [one]
        results = [_result(claim, outcome) for claim in _claims(held)]
        answer = self._do(fate, lambda: self.workers[one.worker].finish(results))
        if answer is not None:
            claims = _claims(held)
            self._end({claim.token: outcome for claim in claims}, said=outcome)
            first = fate is not Fate.REPEATS
            assert answer.value == {c.token: "accepted" if first else self._word(c, outcome) for c in claims}

    @precondition(lambda self: self.mine)
    @rule(pick=PICKS, failure=st.sampled_from(["timeout", "poison", "infrastructure"]))
    def fail_again_and_again(self, pick: int, failure: str) -> None:
        """A failure that may pass is tried as often as its class allows, and no further."""
        worker = _pick(self.mine, pick).worker
        for _ in range(ATTEMPTS[failure]):
            held = [held.worker for held in self.mine]
            if worker in held:
                self.finish(held.index(worker), True, Outcome(TrialState.FAILED, failure=failure), Fate.WELL)
            self.model_and_ledger_agree()
            self._outlast_pauses()
            self.claim(worker, 3, Fate.WELL)

    @precondition(lambda self: self.gone)
    @rule(pick=PICKS, same=st.booleans(), outcome=OUTCOMES, step=st.sampled_from(STEPS), value=VALUES)
    def use_stale_token(self, pick: int, same: bool, outcome: Outcome, step: int, value: float) -> None:
        """A token that holds nothing any more changes nothing, whether its worker says the same again or another thing."""
        gone = _pick([gone for gone in self.gone if gone.claim.key[:2] in self.running] or self.gone, pick)
        worker = self.workers[gone.worker]
        again = gone.outcome if same and gone.outcome is not None else outcome
        with self._unchanged():
            assert worker.heartbeat([gone.claim]) == {}
            verdict = Verdict(accepted=False, stop=True, reason="stale")
            assert worker.report([_report(gone.claim, step, value)]) == [verdict]
            assert worker.finish([_result(gone.claim, again)]) == {gone.claim.token: self._word(gone.claim, again)}

    # Death, and the clocks.

    @rule(silent=st.sets(st.sampled_from(WORKERS)), lookers=LOOKERS)
    def die(self, silent: set[str], lookers: Sequence[int]) -> None:
        """Exactly the leases of the silent, and those nobody heard of, are taken back, each once."""
        self.sound = False
        lost = [token for token, held in self.held.items() if held.worker in silent or held.claim is None]
        taken = self._sweep(lookers)
        for _ in range(int(LEASE / PERIOD)):
            self.monotonic += PERIOD
            self._beat(set(WORKERS) - silent)
            taken += self._sweep(lookers)
        assert taken == len(lost)
        self._end(self._lost(lost), said=None)
        self.workers |= {name: self.ledger.worker(name) for name in silent}

    @precondition(lambda self: len(self.mine) == len(self.held))
    @rule(lookers=LOOKERS)
    def fall_silent_for_less_than_a_lease(self, lookers: Sequence[int]) -> None:
        self.sound = False
        self._beat(WORKERS)
        for seconds in (0, PERIOD, PERIOD - 1):
            self.monotonic += seconds
            assert self._sweep(lookers) == 0
        self._beat(WORKERS)

    @rule(seconds=st.sampled_from([NAP, 10 * NAP, YEAR]))
    def nap(self, seconds: float) -> None:
        """A reaper that slept condemns nobody."""
        self.monotonic += seconds
        with self._unchanged():
            assert self._sweep((0, 1)) == 0

    @rule(seconds=st.one_of(st.floats(-YEAR, YEAR), st.sampled_from([1.0, LEASE, 2 * LEASE, -LEASE])))
    def move_wall_clock(self, seconds: float) -> None:
        with self._unchanged():
            self.ledger.clock.move(seconds)
            assert self._sweep((0, 1)) == 0

    def _beat(self, workers: Iterable[str]) -> None:
        for worker in sorted(workers):
            held = [held for held in self.mine if held.worker == worker]
            self._beaten(held, self.workers[worker].heartbeat(_claims(held)))

    def teardown(self) -> None:
        """Finish everything, unless an act has failed already: then that is what is to be told."""
        try:
            if self.sound:
                self._drain()
        finally:
            wipe(self.ledger)

    def _drain(self) -> None:
        self.die(set(), (0,))
        while True:
            for worker in WORKERS:
                held = [held for held in self.mine if held.worker == worker]
                if held:
                    self.finish(self.mine.index(held[0]), True, Outcome(TrialState.COMPLETED, 0.5), Fate.WELL)
            self._outlast_pauses()
            self.claim(WORKERS[0], 3, Fate.WELL)
            self.model_and_ledger_agree()
            if not self.held:
                break
        self._check_the_end()

    def _outlast_pauses(self) -> None:
        """A pause ends by the wall clock, so one that went back makes it longer."""
        due = [trial.due[1] for study in self.studies.values() for trial in study.trials if trial.due]
        self.ledger.clock.now = max([self.now, *due])

    def _check_the_end(self) -> None:
        for study in self.studies.values():
            assert list(study.faults()) == []
            points = [row.grid_index for row in self.rows["trial"] if row.study_id == study.id]
            assert not study.grid or len(set(points)) == len(points) <= GRID_POINTS
            progress = self.ledger.study(show_study(study.id)).record.progress
            assert (progress.budget, progress.allocated, progress.running, progress.finished) == study.facts[1:]


def _posted(study: Study) -> Any:
    """Return the study as a person would post it."""
    more: dict[str, Any] = {"parallelism": study.parallelism, "max_failed": study.max_failed}
    if study.prunes:
        more["pruning"] = {"kind": "asha", "min_steps": 1, "reduction": REDUCTION}
    strategy, space = ("grid", "discrete") if study.grid else ("random", "continuous")
    return definition(strategy, space=space, trials=study.budget, **more)


def _report(claim: Claim, step: int, value: float) -> Report:
    return Report(claim, step, {"val_loss": value})


def _result(claim: Claim, outcome: Outcome) -> Result:
    if outcome.failure is not None:
        return Result(claim, TrialState.FAILED, failure=Failure(outcome.failure))
    return Result(claim, outcome.target, values=None if outcome.value is None else {"val_loss": outcome.value})


def _claims(held: Iterable[Held]) -> list[Claim]:
    return [one.claim for one in held if one.claim is not None]


def _pick(among: Iterable[Any], pick: int) -> Any:
    every = list(among)
    return every[pick % len(every)]
