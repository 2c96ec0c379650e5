"""What the ledger must hold, in plain Python: studies and trials as one act after another leaves them.

Written from the promises, not from the product's code: no lock, no token, no SQL, one thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf

from models.states import FINAL_TRIAL_STATES, StudyState, TrialState

# A failure's attempts, and the longest pause before the second one in seconds; it doubles with every further one.
ATTEMPTS: Mapping[str, int] = {
    "user_error": 1,
    "out_of_memory": 1,
    "timeout": 2,
    "poison": 3,
    "lane": 100,
    "infrastructure": 5,
}
FIRST_PAUSE = 1.0
PAUSELESS = frozenset({"lane"})
LOST = frozenset({"poison", "lane", "infrastructure"})
GRID_POINTS = 6
REDUCTION = 2
# The steps a test reports at; pruning looks at those that are powers of the reduction.
STEPS = (1, 2, 3, 4)
RUNGS = frozenset({1, 2, 4})

LIVE = frozenset({StudyState.RUNNING, StudyState.PAUSED})
FOR_GOOD = frozenset({StudyState.CANCELLED, StudyState.FAILED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ends: completed with a value, diverged, given back (queued), or with a failure."""

    target: TrialState
    value: float | None = None
    failure: str | None = None


@dataclass(slots=True)
class Trial:
    """One trial. `due` bounds when it may run again.

    `company` is with how many it runs, as far as is known (None: a client has it), and `limit` with how many it may.
    """

    number: int
    state: TrialState = TrialState.RUNNING
    attempt: int = 1
    value: float | None = None
    due: tuple[datetime, datetime] | None = None
    failures: list[tuple[int, str]] = field(default_factory=list)
    forgiven: int = 0
    told: str | None = None
    measured: dict[tuple[int, int], float] = field(default_factory=dict)
    rungs: dict[int, float] = field(default_factory=dict)
    stopped: bool = False
    company: int | None = None
    limit: int | None = None

    @property
    def facts(self) -> tuple[int, TrialState, int, float | None]:
        """What is compared with the ledger's row."""
        return self.number, self.state, self.attempt, self.value

    @property
    def over(self) -> bool:
        return self.state in FINAL_TRIAL_STATES

    def waits(self, now: datetime) -> bool:
        return self.state is TrialState.QUEUED and (self.due is None or self.due[1] <= now)

    def start(self) -> None:
        self.state, self.attempt, self.due = TrialState.RUNNING, self.attempt + 1, None

    def strikes(self, failure: str) -> int:
        """Count earlier attempts, since the last pardon, that failed in the same way."""
        return sum(why == failure and self.forgiven < attempt < self.attempt for attempt, why in self.failures)

    def join(self, others: int | None) -> None:
        """Let it be held together with so many, itself included, of which no more than its limit run."""
        self.company = others if others is None or self.limit is None else min(others, self.limit)

    def lose(self, held: int) -> Outcome:
        """Say what it is to it that its worker died, which held so many: nobody's fault unless it was alone."""
        if self.company is not None:
            self.join(max(self.company, held))
        return Outcome(TrialState.FAILED, failure="lane" if (self.company or 1) > 1 else "infrastructure")

    def suspect(self, failure: str) -> None:
        """Halve the company of what was lost; what has run to any other end is not suspected any more."""
        company = self.company or 1
        if failure not in LOST:
            self.limit = None
        elif failure == "poison" or (company == 1 and self.limit is not None):
            self.limit = 1
        else:
            self.limit = company // 2 or None

    def target(self, outcome: Outcome) -> TrialState:
        """Say where an outcome by itself would move this trial."""
        if outcome.failure is None:
            return outcome.target
        again = self.strikes(outcome.failure) + 1 < ATTEMPTS[outcome.failure]
        return TrialState.QUEUED if again else TrialState.FAILED

    def repeats(self, attempt: int, outcome: Outcome) -> bool:
        """Say whether this very outcome of this attempt stands already."""
        state = TrialState.COMPLETED if self.state is TrialState.PRUNED else self.state
        return (self.attempt, state, self.value) == (attempt, self.target(outcome), outcome.value)


@dataclass(slots=True)
class Study:
    """One study. Its verbs say whether they are allowed; one that is not changes nothing."""

    id: int
    grid: bool
    budget: int
    parallelism: int | None = None
    max_failed: int | None = None
    prunes: bool = False
    state: StudyState = StudyState.RUNNING
    trials: list[Trial] = field(default_factory=list)

    @property
    def running(self) -> int:
        return sum(trial.state is TrialState.RUNNING for trial in self.trials)

    @property
    def finished(self) -> int:
        return sum(trial.over for trial in self.trials)

    @property
    def facts(self) -> tuple[StudyState, int, int, int, int]:
        """What is compared with the ledger's row: state and counters."""
        return self.state, self.budget, len(self.trials), self.running, self.finished

    @property
    def why_stop(self) -> str | None:
        """Why a heartbeat tells every trial to stop."""
        return None if self.state in LIVE else self.state.value

    def ready(self, capacity: int, now: datetime) -> tuple[list[Trial], int]:
        """Return the trials that a claim now would run again, and how many fresh ones it would add."""
        if self.state is not StudyState.RUNNING:
            return [], 0
        room = capacity if self.parallelism is None else min(capacity, self.parallelism - self.running)
        again = [trial for trial in self.trials if trial.waits(now)][: max(0, room)]
        return again, max(0, min(room - len(again), self.budget - len(self.trials)))

    def claim(self, capacity: int, now: datetime, *, together: bool) -> list[Trial]:
        """Start trials, for one who runs them together or for a client."""
        again, fresh = self.ready(capacity, now)
        for trial in again:
            trial.start()
        new = [Trial(number) for number in range(len(self.trials), len(self.trials) + fresh)]
        self.trials += new
        for trial in again + new:
            trial.join(len(again) + fresh if together else None)
        return again + new

    def report(self, trial: Trial, step: int, value: float) -> tuple[bool, bool]:
        """Measure; return whether it was accepted, and whether the trial is to stop."""
        if trial.measured.setdefault((trial.attempt, step), value) != value:
            return False, False
        if not self.prunes or step not in RUNGS:
            return True, False
        if step not in trial.rungs:
            trial.rungs[step] = value
            scores = sorted(other.rungs[step] for other in self.trials if step in other.rungs)
            kept = max(1, len(scores) // REDUCTION)
            trial.stopped |= value > scores[kept - 1]
        return True, trial.stopped

    def end(self, ended: Sequence[tuple[Trial, Outcome]], now: datetime) -> None:
        """End attempts together, and the study with its last trial or its last straw."""
        failed = [self._end(trial, outcome, now) for trial, outcome in ended].count(TrialState.FAILED)
        if self.state not in LIVE:
            return
        failures = sum(trial.state is TrialState.FAILED for trial in self.trials)
        if failed and failures > (inf if self.max_failed is None else self.max_failed):
            self._close(StudyState.FAILED)
        elif self.finished == self.budget:
            self._close(self._last_word())

    def _end(self, trial: Trial, outcome: Outcome, now: datetime) -> TrialState:
        if trial.told:
            # Whatever its holder made of it meanwhile, it is no result and no failure.
            trial.state, trial.value, trial.told = TrialState.CANCELLED, None, None
            return trial.state
        target = trial.target(outcome)
        if outcome.failure is not None:
            pause = FIRST_PAUSE * 2.0 ** trial.strikes(outcome.failure)
            trial.due = (now, now + timedelta(seconds=pause)) if outcome.failure not in PAUSELESS else None
            trial.failures.append((trial.attempt, outcome.failure))
            trial.suspect(outcome.failure)
        if target is TrialState.QUEUED and self.state not in LIVE:
            target = TrialState.CANCELLED
        if target is TrialState.COMPLETED and self.prunes and trial.stopped:
            target = TrialState.PRUNED
        trial.state, trial.value = target, outcome.value
        return target

    def _last_word(self) -> StudyState:
        completed = any(trial.state is TrialState.COMPLETED for trial in self.trials)
        return StudyState.COMPLETED if completed else StudyState.FAILED

    def _close(self, state: StudyState) -> None:
        self.state = state
        for trial in self.trials:
            if trial.state is TrialState.QUEUED:
                trial.state = TrialState.CANCELLED

    def pause(self) -> bool:
        return self._turn(StudyState.PAUSED)

    def resume(self) -> bool:
        return self._turn(StudyState.RUNNING)

    def _turn(self, state: StudyState) -> bool:
        if self.state in LIVE:
            self.state = state
        return self.state in LIVE

    def cancel(self) -> bool:
        if self.state in LIVE:
            self._close(StudyState.CANCELLED)
        return self.state is StudyState.CANCELLED

    def deletable(self) -> bool:
        return self.state not in LIVE and self.running == 0

    def edit(self, budget: int) -> bool:
        """Change the budget: a completed study with more goes on, a live one with no more to do ends."""
        budget = min(budget, GRID_POINTS) if self.grid else budget
        if budget < len(self.trials) or (self.state in FOR_GOOD and budget != self.budget):
            return False
        self.budget = budget
        if self.state is StudyState.COMPLETED and budget > len(self.trials):
            self.state = StudyState.RUNNING
        elif self.state in LIVE and self.trials and budget == self.finished:
            self._close(self._last_word())
        return True

    def retry(self, trial: Trial) -> bool:
        """Queue a failed trial again by a person's wish, with a clean record; the study goes on unless cancelled.

        Who wishes it twice has wished it once.
        """
        if trial.state is TrialState.QUEUED and trial.forgiven == trial.attempt:
            return True
        if trial.state is not TrialState.FAILED or self.state is StudyState.CANCELLED:
            return False
        trial.state, trial.due, trial.forgiven = TrialState.QUEUED, None, trial.attempt
        if self.state not in LIVE:
            self.state = StudyState.RUNNING
        return True

    def cancel_trial(self, trial: Trial) -> bool:
        """Take one trial out of a live study; one that runs is told to stop."""
        if trial.state is TrialState.CANCELLED:
            return True
        if trial.over or self.state not in LIVE:
            return False
        if trial.state is TrialState.RUNNING:
            trial.told = "cancelled"
            return True
        trial.state = TrialState.CANCELLED
        if self.finished == self.budget:
            self._close(self._last_word())
        return True

    def faults(self) -> Iterator[str]:
        """Say what is wrong when nothing is left to do."""
        if self.state is StudyState.RUNNING or self.running:
            yield f"{self.state} with {self.running} running"
        if self.state is StudyState.COMPLETED and self.finished != self.budget:
            yield f"completed with {self.finished} of {self.budget}"
