"""The clerk of a shift: hears its trials, brings what they say to the ledger, and the verdicts back to their trainer.

Measurements come first, then the checkpoints that stand on them, then results. While the database is away all of it
waits, and nobody on the trainer waits for it.
"""

from collections.abc import Sequence

from search.trials.dispatch import Report, Result, Verdict
from training.protocol import Message
from workers.line import Line
from workers.outbox import Outbox
from workers.patience import Watch
from workers.roster import Roster
from workers.running import STALE, Manner, Run

_GO_ON = Verdict(accepted=True, stop=False, reason=None)


class Clerk:
    """Holds what was heard of a shift's trials and is not written yet."""

    def __init__(self, outbox: Outbox, roster: Roster, line: Line, manner: Manner, watch: Watch) -> None:
        """Write to an outbox; answers go over the line, in the manner of the study."""
        self._outbox = outbox
        self._roster = roster
        self._line = line
        self._manner = manner
        self._watch = watch
        self._unkept: list[Run] = []
        # How many of the measurements that wait for the database were told to go on.
        self._waved_on = 0

    @property
    def away(self) -> bool:
        """Whether the database was away a moment ago."""
        return self._outbox.away

    @property
    def done(self) -> bool:
        """Whether nothing is left to be written."""
        return not (self._outbox.reports or self._roster.over)

    def hear(self, message: Message, now: float) -> None:
        """Take what the trainer says of its trials at a time of the watch; of others than those on it nothing."""
        kind = message["type"]
        if kind == "measurements":
            for trial, step, values in message["of"]:
                self._measured(trial, step, values, now)
        elif kind == "measurement":
            self._measured(message["trial"], message["step"], message["values"], now)
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

    def forget(self) -> None:
        """Drop what was heard and is not written: it is not to be trusted."""
        self._outbox.reports.clear()
        self._unkept.clear()

    def write(self, *, last: bool = False) -> list[tuple[Run, Result | None]]:
        """Write all there is, if the database is there; the last time what can be. Return who has ended, and as what."""
        if self._outbox.away and not last:
            return []
        self._report()
        if not self._outbox.reports:
            self._keep()
        # Who ends before its checkpoint is known can be nobody's parent.
        return self._finish() if last or not (self._outbox.reports or self._unkept) else []

    def wave_on(self) -> None:
        """Let go on who holds for a verdict, while the database is away."""
        waiting = self._outbox.reports[self._waved_on :]
        self._waved_on = len(self._outbox.reports)
        self._answer([(report, _GO_ON) for report in waiting if self._manner.holds_at(report.step)])

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
                self._line.tell(run.stop_message(keep=True))
            else:
                said.append((run.claim.id, report.step, verdict.stop, verdict.reason))
        if len(said) > 1 and self._manner.lane:
            self._line.tell({"type": "verdicts", "of": said})
            return
        for trial, step, stop, reason in said:
            self._line.tell({"type": "verdict", "trial": trial, "step": step, "stop": stop, "reason": reason})

    def _keep(self) -> None:
        """Have the ledger know of checkpoints, after the measurements that they stand on."""
        while self._unkept:
            run = self._unkept[0]
            if run.unkept is not None and not run.pruned and run.stopping != STALE:
                stands = self._outbox.keep(run.unkept)
                if stands is None:
                    return
                if not stands and run.stopping is None:
                    self._line.stop(run, STALE)
            run.unkept = None
            del self._unkept[0]

    def _finish(self) -> list[tuple[Run, Result | None]]:
        ended = [(run, run.result()) for run in self._roster.over]
        results = [(run.claim, result) for run, result in ended if result is not None]
        if results and not self._outbox.finish(results):
            return []
        self._roster.over.clear()
        return ended
