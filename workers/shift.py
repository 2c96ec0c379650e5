"""A shift: one trainer and the trials of one study that it is given, from the first claim to the last result.

The trials come and go one by one: what the trainer says is heard in batches and written in batches, and whatever room
there is then is filled again. One trial alone is the same with room for one.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.session import Unavailable
from search.trials.dispatch import Claim, Dispatcher, Report, Verdict
from search.trials.failures import Failure
from training.protocol import Message
from workers.habits import Habits, Rooms
from workers.holdings import Holdings
from workers.outbox import Outbox
from workers.outcomes import Loss
from workers.patience import Watch
from workers.refill import ClaimMore, Refill
from workers.roster import Roster
from workers.running import BROKEN, SHUTDOWN, STALE, YIELDED, Run, manner_of, start_message
from workers.trainer import Trainer, TrainerDied

log = logging.getLogger("tuneup.shift")

# Once it was decided to leave the trainer to others, how long who still runs may take to end by itself.
YIELD_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_ASK_SECONDS = 3.0
_PAUSE_SECONDS = 0.2
# One that only reads nothing any more may talk on for ever.
_LAST_WORDS_SECONDS = 1.0
# While more trials are being claimed, their coming is looked for so often.
_CLAIM_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Desk:
    """What the shifts of a worker share. `claim_more` is told the first trial of one; `end_trainer` ends it with all it started."""

    dispatcher: Dispatcher
    habits: Habits
    held: Holdings
    rooms: Rooms
    objectives: Sequence[str]
    claim_more: Callable[[Claim], ClaimMore]
    end_trainer: Callable[[], None]


class Shift:
    """Runs trials on one trainer until there are none left for it."""

    def __init__(self, first: Claim, trainer: Trainer, desk: Desk) -> None:
        """Begin with a trial that is held already."""
        self.ran = 0
        # Whether the trainer may be spoilt, and whether this host is sound.
        self.spoilt = False
        self.sound = True
        self._trainer = trainer
        self._desk = desk
        self._study = first.study_id
        self._manner = manner_of(first.definition)
        self._watch = Watch()
        self._outbox = Outbox(desk.dispatcher, desk.habits.terms.shelf)
        self._refill = Refill(desk.claim_more(first))
        self._roster = Roster()
        self._roster.add(Run(first, desk.habits.terms))
        self._unkept: list[Run] = []
        # How many of the measurements that wait for the database were told to go on.
        self._waved_on = 0
        # Up to when all that the trainer said has been heard, and when it said something at all.
        self._heard = self._spoke = self._watch()
        self._look_at = 0.0
        self._ask_at = time.monotonic() + desk.habits.slice_seconds
        self._yield_at: float | None = None
        self._ending = False
        self._gone = False

    def work(self) -> None:
        """Run to the end; every trial that was held has then been written, or given up at shutdown."""
        try:
            while self._goes_on():
                self._step()
        except TrainerDied as error:
            self._bury(str(error))
        except Exception as error:
            # Whatever it was, the trainer may still be at work: who comes next must not hear of it.
            log.exception("the trials of a trainer broke off")
            self._break_off(repr(error))
        try:
            self._settle()
        finally:
            self._desk.held.drop([run.claim for run in self._roster.everyone])

    @property
    def yielded(self) -> bool:
        """Whether the trainer was left to another study that waits."""
        return self._yield_at is not None

    @property
    def _room(self) -> int:
        return self._desk.rooms.of(self._study) if self._manner.lane else 1

    @property
    def _refills(self) -> bool:
        """Whether more trials are to be claimed for this trainer."""
        return self._room > 1 and not self._closing and not self._trainer.worn

    @property
    def _closing(self) -> bool:
        """Whether nothing more is to be started."""
        return self._ending or self._yield_at is not None or self._desk.held.stopping.is_set()

    def _goes_on(self) -> bool:
        if self._gone:
            return False
        if self._roster.running:
            return True
        if self._closing:
            return False
        return bool(self._roster.waiting) or (self._refills and not self._refill.dry)

    def _step(self) -> None:
        self._man()
        self._look()
        if self._gone:
            return
        self._heard = self._watch()
        self._hear(self._trainer.receive(timeout=_CLAIM_SECONDS if self._refill.busy else _LOOK_SECONDS))
        # At the very end of a shutdown the last ones are written together with those that were never started.
        if self._roster.running or not self._desk.held.stopping.is_set():
            self._write()

    # Who comes

    def _man(self) -> None:
        """Start whoever fits, and have more claimed where there is room."""
        for claim in self._refill.take():
            self._roster.add(Run(claim, self._desk.habits.terms))
        if self._closing:
            return
        for run in self._roster.starting(self._room):
            self._start(run)
        free = self._roster.free(self._room)
        if free and self._refills and not self._outbox.away:
            self._refill.ask(free, len(self._roster.running))

    def _start(self, run: Run) -> None:
        self._trainer.send(start_message(run.claim, self._desk.habits.terms, self._manner))
        run.set_out(self._watch())
        if self._room > 1:
            self._trainer.shared += 1
        else:
            self._trainer.trials += 1

    # What is heard

    def _hear(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        self._spoke = now = self._watch()
        for message in messages:
            kind = message["type"]
            if kind == "measurements":
                for trial, step, values in message["of"]:
                    self._measured(trial, step, values, now)
            elif kind == "measurement":
                self._measured(message["trial"], message["step"], message["values"], now)
            elif kind == "room":
                self._resize(message)
            else:
                self._told(message, now)

    def _measured(self, trial: str, step: int, values: dict[str, float], now: float) -> None:
        run = self._roster.running.get(trial)
        if run is not None:
            self._outbox.reports.append(run.measured(step, values, now))

    def _told(self, message: Message, now: float) -> None:
        run = self._roster.running.get(message.get("trial", ""))
        if run is None:
            return
        run.hear(message, now)
        if run.unkept is not None:
            self._unkept.append(run)
        if run.outcome is not None:
            self._roster.end(run)

    def _resize(self, message: Message) -> None:
        members = message.get("members")
        if isinstance(members, int) and members != self._room and self._manner.lane:
            self._desk.rooms.learn(self._study, members)
            log.info("the trainer has room for %d trials: %s", self._room, message.get("lane"))

    # What is written

    def _write(self, *, last: bool = False) -> bool:
        """Write all there is, if the database is there; return whether nothing is left. The last time write what can be."""
        with self._watch.ours():
            if not self._outbox.away or last:
                self._report()
                if not self._outbox.reports:
                    self._keep()
                # Who ends before its checkpoint is known can be nobody's parent.
                if last or not (self._outbox.reports or self._unkept):
                    self._finish()
            self._wave_on()
        return not (self._outbox.reports or self._roster.over)

    def _report(self) -> None:
        answered = self._outbox.write_reports()
        holds, told = self._manner.holds_at, self._waved_on
        self._waved_on = max(0, told - len(answered))
        self._answer(
            [
                (report, verdict)
                for place, (report, verdict) in enumerate(answered)
                if verdict.stop or (place >= told and holds(report.step))
            ]
        )

    def _wave_on(self) -> None:
        """Let go on who holds for a verdict, while the database is away."""
        waiting = self._outbox.reports[self._waved_on :]
        self._waved_on = len(self._outbox.reports)
        self._answer([(report, _GO_ON) for report in waiting if self._manner.holds_at(report.step)])

    def _answer(self, answered: Sequence[tuple[Report, Verdict]]) -> None:
        """Bring verdicts to their trials, and to the trainer in one message."""
        said: list[tuple[str, int, bool, str | None]] = []
        for report, verdict in answered:
            run = self._roster.find(report.claim.token, report.claim.id)
            if run is None:
                continue
            if verdict.stop:
                run.take_verdict(verdict, self._watch())
            if run.outcome is not None or run.loss is not None:
                continue
            if run.waits:
                self._tell(run.stop_message(keep=True))
            else:
                said.append((run.claim.id, report.step, verdict.stop, verdict.reason))
        if len(said) > 1 and self._manner.lane:
            self._tell({"type": "verdicts", "of": said})
            return
        for trial, step, stop, reason in said:
            self._tell({"type": "verdict", "trial": trial, "step": step, "stop": stop, "reason": reason})

    def _keep(self) -> None:
        """Have the ledger know of checkpoints, after the measurements that they stand on."""
        while self._unkept:
            run = self._unkept[0]
            if run.unkept is not None and not run.pruned and run.stopping != STALE:
                stands = self._outbox.keep(run.unkept)
                if stands is None:
                    return
                if not stands and run.stopping is None:
                    self._stop(run, STALE)
            run.unkept = None
            del self._unkept[0]

    def _finish(self) -> None:
        ended = [(run, run.result()) for run in self._roster.over]
        results = [(run.claim, result) for run, result in ended if result is not None]
        if results and not self._outbox.finish(results):
            return
        self._roster.over.clear()
        self._desk.held.drop([run.claim for run, _ in ended])
        self.ran += sum(run.started for run, _ in ended)
        if ended:
            self._refill.room_again()
        failures = {result.failure for _, result in ended if result is not None and result.failure is not None}
        self.spoilt = self.spoilt or bool(failures)
        if Failure.INFRASTRUCTURE in failures:
            self.sound = False
            self._end(BROKEN)

    def _settle(self) -> None:
        """Give back what was not started, and write all that is left, however long the database is away.

        Nobody can reap the leases meanwhile. A shutdown tries it once.
        """
        for claim in self._refill.close():
            self._roster.add(Run(claim, self._desk.habits.terms))
        stopping = self._desk.held.stopping
        for run in self._roster.waiting:
            self._roster.turn_away(run, "released")
        while not self._write(last=stopping.is_set()):
            if stopping.wait(_PAUSE_SECONDS):
                self._write(last=True)
                return

    # Who goes

    def _look(self) -> None:
        """See now and then who is to stop, who takes too long, and whether another study waits."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_SECONDS
        self._heed()
        self._see_graces()
        if not self._gone:
            self._see_timeouts()
        if not self._gone and self._room > 1:
            self._mind_others()

    def _heed(self) -> None:
        """Stop whoever is asked to. Who waits is given back at the end of a shutdown, together with the others."""
        held = self._desk.held
        for run in list(self._roster.running.values()):
            asked = held.why_stop(run.claim) if run.stopping is None else None
            if asked is not None:
                self._stop(run, asked)
        for run in self._roster.waiting:
            asked = held.why_stop(run.claim)
            if asked is not None and asked != SHUTDOWN:
                run.stopping = asked
                self._roster.turn_away(run, asked)

    def _stop(self, run: Run, reason: str) -> None:
        message = run.ask_to_stop(reason, self._watch())
        if run.claim.id in self._roster.running:
            self._tell(message)

    def _end(self, reason: str) -> None:
        """Start nothing more, and have all that run stop for this reason."""
        self._ending = True
        for run in self._roster.running.values():
            if run.stopping is None:
                self._stop(run, reason)

    def _see_graces(self) -> None:
        """Give up a trainer that ignores a stop: it is no fault of those that share it."""
        late = [run for run in self._roster.running.values() if run.deadline is not None and self._heard > run.deadline]
        if late:
            log.warning("trial %s did not stop when it was asked to: its trainer is ended", late[0].claim.id)
            self._end_trainer(lambda _: Loss(None, BROKEN))

    def _see_timeouts(self) -> None:
        """Stop who takes too long: one that has the trainer for itself with it, one of many alone, if it obeys.

        A trainer that has been silent as a whole is stuck, and nobody knows by whom: all that share it are lost alike, and
        run again in halves until it is plain.
        """
        late = [(run, why) for run in self._roster.running.values() if (why := run.late(self._heard))]
        if not late:
            return
        shared, said = len(self._roster.running), late[0][1]
        if shared == 1:
            self._end_trainer(lambda _: Loss(Failure.TIMEOUT, said))
        elif self._stuck():
            self._end_trainer(lambda _: Loss(Failure.LANE, said, shared))
        else:
            for run, why in late:
                self._tell(run.run_out(why, self._watch()))

    def _stuck(self) -> bool:
        """Say whether the trainer has said nothing of anyone for as long as one trial may be silent, or for half of it."""
        limits = [run.claim.definition.timeouts.progress for run in self._roster.running.values()]
        shortest = min((limit for limit in limits if limit is not None), default=None)
        return shortest is not None and self._heard - self._spoke >= shortest / 2

    def _mind_others(self) -> None:
        """Once the slice is over leave the trainer to another study, if one waits: first to who ends soon, then at once."""
        now = time.monotonic()
        if self._yield_at is not None:
            if now >= self._yield_at and not self._ending:
                self._end(YIELDED)
        elif now >= self._ask_at:
            self._ask_at = now + _ASK_SECONDS
            if self._others_wait():
                self._yield_at = now + YIELD_SECONDS
                for run in self._roster.waiting:
                    self._roster.turn_away(run, YIELDED)

    def _others_wait(self) -> bool:
        desk = self._desk
        with self._watch.ours():
            try:
                return desk.dispatcher.others_wait(
                    queue=desk.habits.queue, study=self._study, objectives=desk.objectives
                )
            except Unavailable:
                return False

    # How it ends before its time

    def _tell(self, message: Message) -> None:
        if not self._gone:
            self._trainer.send(message)

    def _bury(self, epitaph: str) -> None:
        """The trainer died: a strike for a trial that had it for itself; several run again in halves until it is plain."""
        self._hear_last_words()
        for run in self._roster.running.values():
            if run.stopping is None:
                # At shutdown the signal may reach the trainer before we have asked it.
                run.stopping = self._desk.held.why_stop(run.claim)
        self._end_trainer(self._blame(epitaph, alone=Failure.POISON))

    def _hear_last_words(self) -> None:
        """Hear what waits in the socket of a trainer that died: whoever was over by then is not lost with it."""
        until = time.monotonic() + _LAST_WORDS_SECONDS
        try:
            while time.monotonic() < until and (said := self._trainer.receive(timeout=0)):
                self._hear(said)
        except TrainerDied:
            pass
        except Exception:
            log.exception("the last words of a trainer cannot be read")

    def _break_off(self, error: str) -> None:
        """Something of ours failed: what was heard and not written yet is not to be trusted, all run again."""
        self._outbox.reports.clear()
        self._unkept.clear()
        self._roster.take_back()
        self._end_trainer(self._blame(error, alone=Failure.INFRASTRUCTURE))

    def _blame(self, said: str, *, alone: Failure) -> Callable[[Run], Loss]:
        """Return what each trial on the trainer is to bear: nothing, if the trainer never got it and others had it."""
        shared = sum(run.started for run in self._roster.running.values())
        heard = any(run.outcome is not None for run in self._roster.over)
        blamed = alone if shared == 1 else Failure.LANE

        def loss(run: Run) -> Loss:
            if run.started:
                return Loss(blamed, said, shared)
            return Loss(None, "released") if shared or heard else Loss(Failure.INFRASTRUCTURE, said)

        return loss

    def _end_trainer(self, loss_of: Callable[[Run], Loss]) -> None:
        self._gone = True
        # First, so that nobody trains further while the database is away.
        self._desk.end_trainer()
        self._roster.lose(loss_of)


_GO_ON = Verdict(accepted=True, stop=False, reason=None)
