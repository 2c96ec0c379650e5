"""The adaptor for users' commands: `python -m training.command --fd N` is a trainer whose trials are commands.

It speaks the protocol of `training.protocol` with its supervisor; `start.objective` is
{"command": [...], "folder": "/abs", "environment": {...}, "options": {...}}. For each trial it starts the command anew,
in its own process group, so that whoever kills the group ends the command, too. What the command is told on standard
input is described in `training.words`, what it says on standard output in `training.lines`. It may ignore a stop: after a
grace its supervisor kills the group.

Exit status 0 is completed, if anything was measured, another one is failed. A command that a signal ended, or that
exits with 137 or 139 as a shell does for one, takes this process with it, exit status 128 + signal: its supervisor sees
a trainer die, and counts it as such. This module imports no torch: it starts in a moment.
"""

import argparse
import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from training import files, lines
from training.channel import Channel, Order, Outcome, Pulse, Start, checkpoint_message, serve
from training.files import Saved
from training.processes import adopt_orphans, end_children, launch
from training.protocol import DEVICE, ERROR_BYTES, REASON_CHARACTERS
from training.words import Objective, environment, first_words, objective_of, order_words

# What a shell, or a container's init, makes of a child that was killed or had a segmentation fault.
_KILLED_STATUS = (137, 139)
_NOTHING_MEASURED = 'the command reported no measurement; it must write lines such as {"step": 1, "values": {"val_loss": 0.3}} to standard output'


class Died(Exception):
    """A signal ended the command."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the command died of signal {number}")
        self.status = 128 + number


class Over(Exception):
    """The trial ends here, whatever the command would do next."""

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = Outcome(outcome, reason[:REASON_CHARACTERS])


class Run:
    """One trial's command while it runs. Three threads: one talks to it, one reads its errors, one waits for its end."""

    def __init__(self, start: Start, channel: Channel, objective: Objective, resume: Saved | None) -> None:
        """Start the command. Raise OSError or ValueError if it cannot be started."""
        self._start = start
        self._channel = channel
        self._first_words = first_words(start, objective, resume)
        self._process = process = launch(
            objective.command,
            folder=objective.folder,
            environment=environment(os.environ, objective, start.params),
        )
        self._stdin, self._stdout, self._stderr = (
            cast("IO[bytes]", stream) for stream in (process.stdin, process.stdout, process.stderr)
        )
        self._resume = resume
        self._pulse = Pulse(channel, start.trial)
        self._measured: dict[int, Mapping[str, float]] = {}
        self._missing: Path | None = None
        self._kept = False
        self._last_word: lines.LastWord | None = None
        self._stop: Order | None = None
        self._errors = b""
        self._talking, self._reading, self._burying = (
            threading.Thread(target=work, daemon=True) for work in (self._talk, self._read_errors, self._bury)
        )

    def follow(self) -> Outcome:
        """Follow the command to its end and say how the trial ended. Raise Died if a signal ended it."""
        over: Outcome | None = None
        for thread in (self._talking, self._reading, self._burying):
            thread.start()
        try:
            for line in lines.split(self._stdout):
                self._hear(line)
        except lines.Malformed as malformed:
            over = Over("failed", str(malformed)).outcome
        except Over as ended:
            over = ended.outcome
        if over is not None:
            self._process.kill()
        self._finish()
        if self._stop is not None:
            return Outcome("stopped", self._stop.reason)
        return over or self._ending(self._process.returncode)

    @property
    def errors(self) -> str:
        """The end of what it wrote to standard error."""
        return self._errors.decode(errors="replace")

    def _hear(self, line: bytes) -> None:
        said = lines.understand(line)
        if said is None:
            self._pulse.beat(time.monotonic())
        elif isinstance(said, lines.Measurement):
            self._relay(said)
        elif isinstance(said, lines.Finished):
            self._announce(said)
        else:
            self._last_word = said

    def _relay(self, said: lines.Measurement) -> None:
        """Pass a measurement on. The same again is passed on, too: a command may wait for each verdict."""
        wrong = said.not_finite()
        if wrong is not None:
            raise Over("diverged", wrong)
        if self._measured.setdefault(said.step, said.values) != said.values:
            raise Over("failed", f"step {said.step} was measured twice, with other values")
        trial = self._start.trial
        # That it went on from its checkpoint shows in the step with which it begins.
        if len(self._measured) == 1 and self._resume is not None and said.step > self._resume.step:
            self._channel.send({"type": "resumed", "trial": trial, "step": self._resume.step})
        self._resume = None
        self._channel.send({"type": "measurement", "trial": trial, "step": said.step, "values": dict(said.values)})
        self._pulse.put_off()

    def _announce(self, said: lines.Finished) -> None:
        """Bring a checkpoint to disk and tell of it. A trial without a folder for them has none.

        One that is not there is passed over: a command that is faster than we are has removed it for a newer one.
        """
        kept = self._start.checkpoints
        if kept is None:
            return
        try:
            if not files.lies_in(kept.folder, said.path):
                raise Over("failed", f"checkpoint {said.path} is no file in the folder that was given for them")
            saved = files.seal(said.path, said.step)
        except (OSError, RuntimeError) as error:  # gone, unreadable, too long a name, or a loop of links
            self._missing = self._missing or said.path
            _say(f"checkpoint {said.path.name} cannot be kept, the trial goes on without: {error}")
            return
        self._kept = True
        self._channel.send(checkpoint_message(self._start.trial, saved))
        self._pulse.put_off()

    def _ending(self, status: int) -> Outcome:
        """Say what an exit status makes of the trial, negative for a signal as subprocess has it."""
        if status < 0:
            raise Died(-status)
        if status in _KILLED_STATUS:
            raise Died(status - 128)
        if self._last_word is not None and self._last_word.outcome != "completed":
            reason = self._last_word.reason
            return Outcome(self._last_word.outcome, reason and reason[:REASON_CHARACTERS])
        if status != 0:
            last = self.errors.strip().rpartition("\n")[2].strip()
            reason = f"the command exited with status {status}" + (f": {last}" if last else "")
            return Outcome("failed", reason[:REASON_CHARACTERS], self.errors or None)
        if self._measured:
            return Outcome("completed", self._without_checkpoint())
        return self._nothing_new()

    def _nothing_new(self) -> Outcome:
        """What went on from its very end has nothing more to report; else a command without a measurement has failed."""
        if self._resume is None:
            return Outcome("failed", _NOTHING_MEASURED)
        self._channel.send({"type": "resumed", "trial": self._start.trial, "step": self._resume.step})
        return Outcome("completed")

    def _without_checkpoint(self) -> str | None:
        """Say of a command that named checkpoints, of which not one could be kept, which was the first."""
        if self._kept or self._missing is None:
            return None
        return f"this attempt kept no checkpoint; the first that was named could not be read: {self._missing}"[
            :REASON_CHARACTERS
        ]

    def _finish(self) -> None:
        """Wait for the end of the command and of our threads."""
        self._burying.join()
        self._reading.join()
        self._channel.end_orders()
        self._talking.join()
        for stream in (self._stdin, self._stdout, self._stderr):
            with contextlib.suppress(OSError):  # words that it never read
                stream.close()

    def _talk(self) -> None:
        """Tell the command what to try, then hand verdicts and stops on: in a thread, for it may not listen."""
        self._write(self._first_words)
        for order in self._channel.orders():
            if order.trial != self._start.trial:
                continue
            if order.stop:
                self._stop = self._stop or order
            if order.stop or self._start.waits(order.step or 0):
                self._write(order_words(order))

    def _write(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # it does not listen, or has ended
            self._stdin.write(json.dumps(message).encode() + b"\n")
            self._stdin.flush()

    def _read_errors(self) -> None:
        while piece := os.read(self._stderr.fileno(), 65536):
            self._errors = (self._errors + piece)[-ERROR_BYTES:]

    def _bury(self) -> None:
        """Wait for the command, then end what it left behind: it may hold memory, a device, and our pipes."""
        self._process.wait()
        end_children()


def attempt(start: Start, channel: Channel) -> Outcome:
    """Run one trial's command to its end; end this process in the way of a command that a signal ended."""
    try:
        objective = objective_of(start.objective)
    except (KeyError, TypeError, ValueError) as error:
        return Outcome("failed", f"the objective is no command: {error!r}"[:REASON_CHARACTERS])
    try:
        run = Run(start, channel, objective, _prepare(start))
    except (OSError, ValueError) as error:
        return Outcome("failed", DEVICE, f"the command {list(objective.command)} cannot be started: {error}")
    try:
        return run.follow()
    except Died as death:
        _die(death, run.errors)


def _prepare(start: Start) -> Saved | None:
    """Make the folder for checkpoints; return the newest one that is whole."""
    if start.checkpoints is None:
        return None
    files.make_folder(start.checkpoints.folder)
    return files.newest_sound(start.checkpoints.resume)


def _die(death: Died, errors: str) -> NoReturn:
    sys.stderr.write(errors)
    _say(str(death))
    os._exit(death.status)


def _say(text: str) -> None:
    sys.stderr.write(f"command: {text}\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.command", description="Run users' commands as trials.")
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of the inherited socket")
    adopt_orphans()
    serve(Channel(socket.socket(fileno=parser.parse_args().fd)), attempt)


if __name__ == "__main__":
    main()
