"""The reaper: what a dead worker held comes back, and nothing else does, whatever the clocks say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from models.claims import Claimed
from models.ids import read_study, show_trial
from models.leases import CLIENT
from models.session import Unavailable
from models.states import TrialState
from models.workers import all_leases, forget_workers, greet, list_workers
from search.studies import interventions, service
from search.trials.claiming import Claimer
from search.trials.dispatch import Claim, Dispatcher, Result
from search.trials.failures import Failure
from tests.support.ledger import Ledger, definition, done, together
from workers.reaper import Reaper

LEASE = 60.0
PERIOD = 7.0


@dataclass(slots=True)
class Watch:
    """A reaper on a clock of its own, which moves by `sweeps`."""

    ledger: Ledger
    now: float = 1000.0
    nudged: list[Sequence[str]] = field(default_factory=list)
    reaper: Reaper = field(init=False)

    def __post_init__(self) -> None:
        self.reaper = Reaper(
            self.ledger.database,
            lease_seconds=LEASE,
            period_seconds=PERIOD,
            nudge=self.nudged.append,
            clock=self.ledger.clock,
            monotonic=lambda: self.now,
        )

    def sweeps(self, seconds: float, *, meanwhile: Callable[[], object] = lambda: None) -> int:
        """Sweep now and every period until `seconds` have passed; return how many trials were taken back."""
        lost = self.reaper.sweep()
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + PERIOD, end)
            meanwhile()
            lost += self.reaper.sweep()
        return lost


@pytest.fixture
def watch(ledger: Ledger) -> Watch:
    """Watch an empty ledger."""
    return Watch(ledger)


def _claims(ledger: Ledger, workers: int, *, trials: int = 100) -> list[tuple[Dispatcher, Claim]]:
    ledger.create(definition(trials=trials))
    made = [ledger.worker(f"w{place}") for place in range(workers)]
    return [(worker, claim) for worker in made for claim in worker.claim(queue="cpu", capacity=1)]


def test_a_silent_worker_loses_its_trial_after_a_lease(ledger: Ledger, watch: Watch) -> None:
    ((worker, claim),) = _claims(ledger, 1)
    assert watch.sweeps(LEASE - 1) == 0
    assert watch.sweeps(1) == 1
    (trial,) = ledger.rows("trial")
    assert (trial.state, trial.attempt, trial.reason) == ("queued", 1, "infrastructure")
    (attempt,) = ledger.rows("attempt")
    assert (attempt.state, attempt.reason) == ("lost", "infrastructure")
    assert worker.heartbeat([claim]) == {}
    assert worker.finish([done(claim)]) == {claim.token: "stale"}
    ledger.clock.move(60)
    (again,) = ledger.worker("other").claim(queue="cpu", capacity=1)
    assert (again.number, again.attempt, again.params) == (0, 2, claim.params)
    assert worker.finish([done(claim)]) == {claim.token: "stale"}


def test_a_moved_counter_is_alive(ledger: Ledger, watch: Watch) -> None:
    ((worker, claim),) = _claims(ledger, 1)
    assert watch.sweeps(10 * LEASE, meanwhile=lambda: worker.heartbeat([claim])) == 0
    assert watch.sweeps(LEASE) == 1


def test_one_heartbeat_gives_a_whole_lease(ledger: Ledger, watch: Watch) -> None:
    ((worker, claim),) = _claims(ledger, 1)
    watch.sweeps(LEASE - 1)
    worker.heartbeat([claim])
    watch.now += 1
    assert watch.sweeps(LEASE - 1) == 0
    assert watch.sweeps(1) == 1


def test_a_heartbeat_between_look_and_write_counts(ledger: Ledger, watch: Watch) -> None:
    ((worker, claim),) = _claims(ledger, 1)
    watch.sweeps(LEASE - 1)
    leases = ledger.database.read(all_leases)
    watch.now += 1
    dead = watch.reaper._observe(leases)
    worker.heartbeat([claim])
    assert [row.token for row in dead] == [claim.token]
    assert ledger.database.write(lambda c: watch.reaper._take_back(c, claim.study_id, dead)) == 0
    assert worker.finish([done(claim)]) == {claim.token: "accepted"}


def test_a_new_reaper_waits_a_whole_lease(ledger: Ledger, watch: Watch) -> None:
    _claims(ledger, 1)
    watch.sweeps(LEASE - 1)
    other = Watch(ledger)
    assert other.sweeps(LEASE - 1) == 0
    assert other.sweeps(1) == 1


def test_only_the_silent_one_is_taken(ledger: Ledger, watch: Watch) -> None:
    held = _claims(ledger, 3)

    def beat() -> None:
        for worker, claim in held[1:]:
            worker.heartbeat([claim])

    assert watch.sweeps(LEASE, meanwhile=beat) == 1
    assert [trial.state for trial in ledger.rows("trial")] == ["queued", "running", "running"]


@pytest.mark.parametrize("seconds", [-86_400, 86_400, 10 * 365 * 86_400])
def test_jumps_of_the_wall_clock_reap_nothing(ledger: Ledger, watch: Watch, seconds: float) -> None:
    ((worker, claim),) = _claims(ledger, 1)
    watch.sweeps(LEASE / 2)
    ledger.clock.move(seconds)
    assert watch.sweeps(LEASE / 2 - 1) == 0
    assert worker.finish([done(claim)]) == {claim.token: "accepted"}


def test_a_long_gap_reaps_nothing_at_once(ledger: Ledger, watch: Watch) -> None:
    """We slept, or the database was away: workers get a whole lease to be heard again."""
    _claims(ledger, 2)
    watch.sweeps(LEASE - 1)
    watch.now += 600
    assert watch.sweeps(LEASE - 1) == 0
    assert watch.sweeps(1) == 2


def test_nothing_dies_while_the_database_is_away(ledger: Ledger, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    ((worker, claim),) = _claims(ledger, 1)
    watch.sweeps(LEASE / 2)

    def away(*_: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(ledger.database, "read", away)
        for _ in range(100):
            watch.now += PERIOD
            with pytest.raises(Unavailable):
                watch.reaper.sweep()
    assert watch.sweeps(2 * PERIOD) == 0
    assert worker.finish([done(claim)]) == {claim.token: "accepted"}


@pytest.mark.parametrize(
    ("workers", "silent", "waits"),
    [(4, 4, True), (7, 4, True), (5, 5, True), (3, 3, False), (8, 4, False), (9, 4, False), (9, 5, True)],
)
def test_the_brake(ledger: Ledger, watch: Watch, workers: int, silent: int, waits: bool) -> None:
    """More than half of the workers, and at least four, silent at once: one more lease."""
    held = _claims(ledger, workers)

    def beat() -> None:
        for worker, claim in held[silent:]:
            worker.heartbeat([claim])

    assert watch.sweeps(LEASE, meanwhile=beat) == (0 if waits else silent)
    assert watch.sweeps(LEASE - 1, meanwhile=beat) == 0
    assert watch.sweeps(1, meanwhile=beat) == (silent if waits else 0)


def test_the_brake_lets_go_of_those_who_speak_again(ledger: Ledger, watch: Watch) -> None:
    held = _claims(ledger, 4)
    watch.sweeps(LEASE)

    def beat() -> None:
        for worker, claim in held:
            worker.heartbeat([claim])

    assert watch.sweeps(3 * LEASE, meanwhile=beat) == 0
    assert watch.sweeps(2 * LEASE + PERIOD) == 4


def test_the_brake_counts_workers_and_not_leases(ledger: Ledger, watch: Watch) -> None:
    ledger.create(definition(trials=100))
    ledger.worker("one").claim(queue="cpu", capacity=50)
    assert watch.sweeps(LEASE) == 50


def test_attempts_are_bounded(ledger: Ledger, watch: Watch) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    for attempt in range(1, 6):
        (claim,) = worker.claim(queue="cpu", capacity=1)
        assert claim.attempt == attempt
        assert watch.sweeps(LEASE) == 1
        ledger.clock.move(3600)
    (trial,) = ledger.trials(study)
    assert (trial.state, trial.reason, trial.attempt) == ("failed", "infrastructure", 5)
    assert ledger.study(study).record.state == "failed"


def test_who_was_in_company_is_lost_as_in_a_lane(ledger: Ledger, watch: Watch) -> None:
    """No strike and no pause, and half the company: also for the first one, which others have joined."""
    study = ledger.create(definition(trials=8))
    worker = ledger.worker("killed")
    first = worker.claim(queue="cpu", capacity=1)
    worker.claim(queue="cpu", capacity=7, study=first[0].study_id, held=1)
    assert watch.sweeps(LEASE) == 8
    assert [(trial.state, trial.reason) for trial in ledger.trials(study)] == [("queued", "lane")] * 8
    assert {(row.state, row.reason, row.population) for row in ledger.rows("attempt")} == {("lost", "lane", 8)}
    again = ledger.worker("other").claim(queue="cpu", capacity=8)
    assert [(claim.number, claim.companions) for claim in again] == [(number, 4) for number in range(8)]


def test_one_that_kills_workers_is_found_by_halving(ledger: Ledger, watch: Watch) -> None:
    """Trial 3 of 9 kills each worker that runs it. Of those claimed as many are run as each may have for company."""
    study = ledger.create(definition(trials=9))
    deaths: list[int] = []
    for life in range(40):
        worker = ledger.worker(f"life {life}")
        claims = worker.claim(queue="cpu", capacity=9)
        room = min((claim.companions or 9 for claim in claims), default=0)
        worker.release(claims[room:], reason="released")
        if 3 in [claim.number for claim in claims[:room]]:
            deaths.append(watch.sweeps(LEASE))
        else:
            worker.finish([done(claim) for claim in claims[:room]])
        ledger.clock.move(3600)
    assert deaths == [9, 4, 2, 1, 1, 1, 1, 1]
    states = [(trial.state, trial.reason) for trial in ledger.trials(study)]
    assert states == [("failed", "infrastructure") if number == 3 else ("completed", None) for number in range(9)]


def test_who_waited_beyond_its_limit_was_not_among_the_lost(ledger: Ledger, watch: Watch) -> None:
    """A worker holds eight of which it may run four: those four are halved, not the eight."""
    ledger.create(definition(trials=8))
    for life, population in enumerate([8, 4, 2]):
        ledger.worker(f"life {life}").claim(queue="cpu", capacity=8)
        assert watch.sweeps(LEASE) == 8
        assert {row.population for row in ledger.rows("attempt") if row.attempt == life + 1} == {population}
    ledger.worker("last").claim(queue="cpu", capacity=8)
    watch.sweeps(LEASE)
    assert {row.reason for row in ledger.rows("attempt") if row.attempt == 4} == {"infrastructure"}


def test_trials_of_one_client_are_no_company(ledger: Ledger, watch: Watch) -> None:
    study = ledger.create(definition(trials=3))
    key, claimer = read_study(study), Claimer(ledger.database, clock=ledger.clock)
    assert key is not None
    ledger.database.write(lambda c: claimer.hold(c, key, client=f"{CLIENT}zoe", count=3, seconds=None))
    assert watch.sweeps(LEASE) == 3
    assert [trial.reason for trial in ledger.trials(study)] == ["infrastructure"] * 3


def test_only_lost_attempts_are_counted(ledger: Ledger, watch: Watch) -> None:
    study = ledger.create(definition(trials=1))
    worker = ledger.worker()
    for _ in range(6):
        worker.release(worker.claim(queue="cpu", capacity=1), reason="released")
    worker.claim(queue="cpu", capacity=1)
    assert watch.sweeps(LEASE) == 1
    assert [(trial.state, trial.attempt) for trial in ledger.trials(study)] == [("queued", 7)]


def test_a_loss_may_be_one_failure_too_many(ledger: Ledger, watch: Watch) -> None:
    study = ledger.create(definition(trials=2, max_failed=0))
    worker = ledger.worker()
    for _ in range(5):
        (claim,) = worker.claim(queue="cpu", capacity=1)
        assert claim.number == 0
        watch.sweeps(LEASE)
        ledger.clock.move(3600)
    record = ledger.study(study).record
    assert (record.state, record.reason) == ("failed", "1 trials failed, more than max_failed=0")


def test_what_a_cancelled_study_lost_is_cancelled(ledger: Ledger, watch: Watch) -> None:
    study = ledger.create(definition(trials=2))
    ledger.worker().claim(queue="cpu", capacity=2)
    ledger.act(service.cancel_study, study)
    assert watch.sweeps(LEASE) == 2
    assert [trial.state for trial in ledger.trials(study)] == ["cancelled", "cancelled"]


def test_two_reapers_take_a_trial_back_once(ledger: Ledger) -> None:
    ledger.create(definition(trials=20))
    ledger.worker().claim(queue="cpu", capacity=20)
    watches = [Watch(ledger), Watch(ledger)]
    for watch in watches:
        watch.sweeps(LEASE - 1)
        watch.now += 1
    assert sum(together(2, lambda place: watches[place].reaper.sweep())) == 20
    assert [attempt.state for attempt in ledger.rows("attempt")] == ["lost"] * 20


def test_a_finish_races_the_reaper(ledger: Ledger, watch: Watch) -> None:
    """Either the result stands or the trial waits again; never both (the fixture looks)."""
    study = ledger.create(definition(trials=12))
    worker = ledger.worker()
    claims = worker.claim(queue="cpu", capacity=12)
    watch.sweeps(LEASE - 1)
    watch.now += 1
    said: dict[str, str] = {}

    def work(place: int) -> int:
        if place:
            return watch.reaper.sweep()
        for claim in claims:
            said.update(worker.finish([done(claim)]))
        return 0

    lost = sum(together(2, work))
    states = [trial.state for trial in ledger.trials(study)]
    assert lost == states.count("queued") == list(said.values()).count("stale")
    assert states.count("completed") == list(said.values()).count("accepted") == 12 - lost


def test_spent_seconds_are_noticed_without_a_claim(ledger: Ledger, watch: Watch) -> None:
    study = ledger.create(definition(trials=9, budget={"trials": 9, "seconds": 60}))
    worker = ledger.worker()
    first, second = worker.claim(queue="cpu", capacity=2)
    worker.finish([done(first)])
    ledger.clock.move(61)
    watch.reaper.sweep()
    assert worker.heartbeat([second]) == {second.token: "budget"}
    worker.finish([Result(second, TrialState.CANCELLED, reason="budget")])
    assert ledger.study(study).record.state == "completed"


def test_what_waits_is_nudged(ledger: Ledger, watch: Watch) -> None:
    watch.reaper.sweep()
    study = ledger.create(definition(trials=1))
    watch.reaper.sweep()
    worker = ledger.worker()
    (claim,) = worker.claim(queue="cpu", capacity=1)
    watch.reaper.sweep()
    worker.finish([Result(claim, TrialState.FAILED, failure=Failure.INFRASTRUCTURE)])
    watch.reaper.sweep()  # a pause comes first
    ledger.clock.move(3600)
    watch.reaper.sweep()
    ledger.act(service.pause_study, study)
    watch.reaper.sweep()
    assert watch.nudged == [[], ["cpu"], [], [], ["cpu"], []]


def test_workers_long_gone_are_forgotten(ledger: Ledger, watch: Watch) -> None:
    def say(name: str) -> None:
        row = {"id": name, "host": "h", "pid": 1, "queue": "cpu", "device": None, "capacity": 1}
        row |= {"started_at": ledger.clock(), "seen_at": ledger.clock()}
        ledger.database.write(lambda c: greet(c, row))

    say("old")
    ledger.clock.move(23 * 3600)
    say("new")
    watch.reaper.sweep()
    assert [row.id for row in ledger.rows("worker")] == ["new", "old"]
    ledger.clock.move(3600 + 1)
    watch.now += 3600
    watch.reaper.sweep()
    assert [row.id for row in ledger.rows("worker")] == ["new"]
    assert len(ledger.database.read(lambda c: list_workers(c, since=ledger.clock()))) == 0
    say("new")
    assert [row.id for row in ledger.database.read(lambda c: list_workers(c, since=ledger.clock()))] == ["new"]
    ledger.database.write(lambda c: forget_workers(c, before=ledger.clock()))
    assert [row.id for row in ledger.rows("worker")] == ["new"]


def test_the_thread_outlives_a_failed_sweep(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    reaper = Reaper(ledger.database, lease_seconds=0.2, period_seconds=0.02)
    ledger.create(definition(trials=1))
    ledger.worker().claim(queue="cpu", capacity=1)
    sweeps: list[int] = []
    real = reaper.sweep

    def sweep() -> int:
        sweeps.append(1)
        if len(sweeps) == 1:
            raise Unavailable("away")
        return real()

    monkeypatch.setattr(reaper, "sweep", sweep)
    reaper.start()
    try:
        for _ in range(500):
            if ledger.rows("trial")[0].state == "queued":
                break
            reaper._stopping.wait(0.02)
    finally:
        reaper.stop()
    assert ledger.rows("trial")[0].state == "queued"


def test_silent_clients_are_no_sign_of_trouble_on_our_side(ledger: Ledger, watch: Watch) -> None:
    """However many they are, a dead worker is noticed after its lease, and so are they."""
    ledger.create(definition(trials=8))
    living, dead = ledger.worker("living"), ledger.worker("dead")
    (held,) = living.claim(queue="cpu", capacity=1)
    dead.claim(queue="cpu", capacity=1)
    for place in range(5):
        ledger.worker(f"{CLIENT}{place}").claim(queue="cpu", capacity=1)
    assert watch.sweeps(LEASE, meanwhile=lambda: living.heartbeat([held])) == 6


def _ask(ledger: Ledger, study: str, seconds: float) -> Claimed:
    study_id = read_study(study)
    assert study_id is not None
    claimer = Claimer(ledger.database, clock=ledger.clock)
    (held,) = ledger.database.write(
        lambda c: claimer.hold(c, study_id, client=f"{CLIENT}one", count=1, seconds=seconds)
    )
    return held


def test_a_lease_lasts_as_long_as_its_holder_wished(ledger: Ledger, watch: Watch) -> None:
    _ask(ledger, ledger.create(definition(trials=1)), 5 * LEASE)
    assert watch.sweeps(5 * LEASE - 1) == 0
    assert watch.sweeps(1) == 1


@pytest.mark.parametrize("end", ["study", "trial"])
def test_who_is_to_stop_has_no_longer_lease_than_others(ledger: Ledger, watch: Watch, end: str) -> None:
    """Else a client that died would hold up the end of its study, for a day at worst."""
    study = ledger.create(definition(trials=1))
    held = _ask(ledger, study, 86_400)
    if end == "study":
        ledger.act(service.cancel_study, study)
    else:
        ledger.act(interventions.cancel_trial, show_trial(held.study_id, held.number))
    assert watch.sweeps(LEASE) == 1
    assert [trial.state for trial in ledger.trials(study)] == ["cancelled"]
