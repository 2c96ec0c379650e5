"""A shift: one trainer and the trials of one study that it is given, from the first claim to the last result.

The trials come and go one by one: what the trainer says is heard in batches and written in batches, and whatever room
there is then is filled again. One trial alone is the same with room for one.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.session import Unavailable
from search.trials.dispatch import Claim, Dispatcher, Result
from search.trials.failures import Failure
from training.protocol import Message
from workers.blame import blame, stuck
from workers.clerk import Clerk
from workers.habits import Habits, Rooms
from workers.holdings import Holdings
from workers.line import Line
from workers.outbox import Outbox
from workers.outcomes import Loss
from workers.patience import Watch
from workers.refill import ClaimMore, Refill
from workers.roster import Roster
from workers.running import BROKEN, SHUTDOWN, YIELDED, Run, manner_of
from workers.slices import Slice
from workers.trainer import Trainer, TrainerDied

log = logging.getLogger("tuneup.shift")

_LOOK_SECONDS = 0.2
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
        self._refill = Refill(desk.claim_more(first))
        self._roster = Roster()
        self._roster.add(Run(first, desk.habits.terms))
        self._line = Line(trainer, self._roster, self._watch, desk.end_trainer)
        outbox = Outbox(desk.dispatcher, desk.habits.terms.shelf)
        self._clerk = Clerk(outbox, self._roster, self._line, self._manner, self._watch)
        # Up to when all that the trainer said has been heard, and when it said something at all.
        self._heard = self._spoke = self._watch()
        self._look_at = 0.0
        self._slice = Slice(desk.habits.slice_seconds, self._others_wait)
        self._ending = False

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
        return self._slice.over

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
        return self._ending or self._slice.over or self._desk.held.stopping.is_set()

    def _goes_on(self) -> bool:
        if self._line.cut:
            return False
        if self._roster.running:
            return True
        if self._closing:
            return False
        return bool(self._roster.waiting) or (self._refills and not self._refill.dry)

    def _step(self) -> None:
        self._man()
        self._look()
        if self._line.cut:
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
            self._line.start(run, self._desk.habits.terms, self._manner, shared=self._room > 1)
        free = self._roster.free(self._room)
        if free and self._refills and not self._clerk.away:
            self._refill.ask(free, len(self._roster.running))

    # What is heard

    def _hear(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        self._spoke = now = self._watch()
        for message in messages:
            if message["type"] == "room":
                self._resize(message)
            else:
                self._clerk.hear(message, now)

    def _resize(self, message: Message) -> None:
        members = message.get("members")
        if isinstance(members, int) and members != self._room and self._manner.lane:
            self._desk.rooms.learn(self._study, members)
            log.info("the trainer has room for %d trials: %s", self._room, message.get("lane"))

    # What is written

    def _write(self, *, last: bool = False) -> bool:
        """Write all there is, if the database is there; return whether nothing is left. The last time write what can be."""
        with self._watch.ours():
            self._part_with(self._clerk.write(last=last))
            self._clerk.wave_on()
        return self._clerk.done

    def _part_with(self, ended: Sequence[tuple[Run, Result | None]]) -> None:
        """Let go of those whose results are written, and see what these say of the trainer and of this host."""
        if not ended:
            return
        self._desk.held.drop([run.claim for run, _ in ended])
        self.ran += sum(run.started for run, _ in ended)
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
        if not self._line.cut:
            self._see_timeouts()
        if not self._line.cut and self._room > 1:
            self._mind_others()

    def _heed(self) -> None:
        """Stop whoever is asked to. Who waits is given back at the end of a shutdown, together with the others."""
        held = self._desk.held
        for run in list(self._roster.running.values()):
            asked = held.why_stop(run.claim) if run.stopping is None else None
            if asked is not None:
                self._line.stop(run, asked)
        for run in self._roster.waiting:
            asked = held.why_stop(run.claim)
            if asked is not None and asked != SHUTDOWN:
                run.stopping = asked
                self._roster.turn_away(run, asked)

    def _end(self, reason: str) -> None:
        """Start nothing more, and have all that run stop for this reason."""
        self._ending = True
        for run in self._roster.running.values():
            if run.stopping is None:
                self._line.stop(run, reason)

    def _see_graces(self) -> None:
        """Give up a trainer that ignores a stop: it is no fault of those that share it."""
        late = [run for run in self._roster.running.values() if run.deadline is not None and self._heard > run.deadline]
        if late:
            log.warning("trial %s did not stop when it was asked to: its trainer is ended", late[0].claim.id)
            self._line.end(lambda _: Loss(None, BROKEN))

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
            self._line.end(lambda _: Loss(Failure.TIMEOUT, said))
        elif stuck(self._roster.running.values(), self._heard - self._spoke):
            self._line.end(lambda _: Loss(Failure.LANE, said, shared))
        else:
            for run, why in late:
                self._line.tell(run.run_out(why, self._watch()))

    def _mind_others(self) -> None:
        """Once the slice is over leave the trainer to another study, if one waits: first to who ends soon, then at once."""
        if self._slice.ends():
            for run in self._roster.waiting:
                self._roster.turn_away(run, YIELDED)
        elif self._slice.overdrawn and not self._ending:
            self._end(YIELDED)

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

    def _bury(self, epitaph: str) -> None:
        """The trainer died: a strike for a trial that had it for itself; several run again in halves until it is plain."""
        self._hear_last_words()
        for run in self._roster.running.values():
            if run.stopping is None:
                # At shutdown the signal may reach the trainer before we have asked it.
                run.stopping = self._desk.held.why_stop(run.claim)
        self._line.end(blame(self._roster, epitaph, alone=Failure.POISON))

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
        self._clerk.forget()
        self._roster.take_back()
        self._line.end(blame(self._roster, error, alone=Failure.INFRASTRUCTURE))
