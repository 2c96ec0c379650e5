"""The lab's process as the API holds it: started when first asked, warm for some minutes, killed when it hangs.

torch and matplotlib stay out of the API's own process. The other end is `training.lab`; its module names the protocol.
It sees its standard input end with this process, however that ends, and ends with it.
"""

import base64
import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from api.lab.errors import LabBusy, LabUnavailable

MODULE = "training.lab"
NEEDS = ("torch", "matplotlib")
ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0
ANSWER_SECONDS = 60.0
_CHUNK = 1 << 20
# Far more bytes than any answer has.
_LONGEST = 1 << 26
# What is quoted of a line in a message.
_SHOWN = 80
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class HelperDied(Exception):
    """The process ended, could not be spoken to, or said something that is not the answer to its question."""


class AnswerFailed(RuntimeError):
    """The process says that answering raised; it is in order otherwise."""


class Helper:
    """One running process. Questions are put one at a time."""

    def __init__(self, command: list[str]) -> None:
        """Start the process and wait until everything is loaded. Raise HelperDied or LabBusy if that does not come."""
        self._buffer = b""
        self._process = subprocess.Popen(  # noqa: S603 - our own program, with arguments we wrote
            command,
            cwd=ROOT,
            env=environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            late = f"the lab's process was not ready within {READY_SECONDS:.0f} s; try again"
            _require_ready(self._read(READY_SECONDS, late=late))
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._process.pid

    def ask(self, question: Mapping[str, object], seconds: float) -> bytes:
        """Return the answer. Raise AnswerFailed if there is none; after any other error the process is of no more use.

        Those are HelperDied, and LabBusy after `seconds` without an answer.
        """
        number = secrets.token_hex(8)
        try:
            _piped(self._process.stdin).write(json.dumps({"id": number, "question": question}).encode() + b"\n")
            _piped(self._process.stdin).flush()
        except OSError as error:
            raise HelperDied(str(error)) from error
        late = f"the lab gave no answer within {seconds:.0f} s; ask for fewer optimizers or steps"
        body, fault = _answer(self._read(seconds, late=late), number)
        if fault is not None:
            raise AnswerFailed(f"the lab could not answer {question}: {fault}")
        return body

    def kill(self) -> None:
        """End the process and all it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what is still buffered has no reader
                _piped(pipe).close()

    def _read(self, seconds: float, *, late: str) -> bytes:
        """Return the next line."""
        deadline = time.monotonic() + seconds
        descriptor = _piped(self._process.stdout).fileno()
        parts, left = [self._buffer], _LONGEST
        # Not `select`, which takes descriptors below 1024 alone, and not epoll, which needs one of its own.
        with selectors.PollSelector() as readable:
            readable.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in parts[-1]:
                if not readable.select(max(0.0, deadline - time.monotonic())):
                    raise LabBusy(late)
                parts.append(self._received(descriptor))
                left -= len(parts[-1])
                if left < 0:
                    raise HelperDied(f"the lab's process said more than {_LONGEST} bytes without an end of line")
        line, _, self._buffer = b"".join(parts).partition(b"\n")
        return line

    def _received(self, descriptor: int) -> bytes:
        data = os.read(descriptor, _CHUNK)
        if not data:
            raise HelperDied(f"the lab's process ended with status {self._process.poll()}")
        return data


class Keeper:
    """Keeps a helper ready: starts one when asked and there is none, and anew when it died. One caller at a time."""

    def __init__(self, *, command: list[str] | None = None, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Start nothing yet. `command` is the program to run."""
        self._command = command or [sys.executable, "-m", MODULE]
        self._answer_seconds = answer_seconds
        self._helper: Helper | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the helper, if one was started."""
        return self._helper.pid if self._helper is not None else None

    def ask(self, question: Mapping[str, object]) -> bytes:
        """Return the answer. Raise LabUnavailable, or LabBusy where asking again may help."""
        missing = [name for name in NEEDS if find_spec(name) is None]
        if missing:
            raise LabUnavailable(
                f"the lab needs {', '.join(missing)} on the API's host: install tuneup's extra `lab` there "
                "(`pip install --editable '.[lab]'` in the checkout)"
            )
        if self._helper is not None:
            # A warm one may have ended meanwhile, being idle. A question changes nothing, so it is simply put again.
            with contextlib.suppress(HelperDied, OSError):
                return self._put(question)
        try:
            self._helper = Helper(self._command)
            return self._put(question)
        except (HelperDied, OSError) as error:
            raise LabUnavailable(f"the lab's process failed: {error}; the API's log has the details") from error

    def _put(self, question: Mapping[str, object]) -> bytes:
        if self._helper is None:
            raise HelperDied("no process")
        try:
            return self._helper.ask(question, self._answer_seconds)
        except AnswerFailed:
            raise
        except BaseException:
            # What it says from now on may be the answer to this question.
            self.close()
            raise

    def close(self) -> None:
        """End the helper, if there is one."""
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.kill()


def environment(source: Mapping[str, str]) -> dict[str, str]:
    """Give the helper what it needs of our environment and nothing secret: neither database nor broker nor keys."""
    kept = {name: source[name] for name in _KEPT if name in source}
    return {**_THREADS, **kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _require_ready(line: bytes) -> None:
    if _message(line).get("ready") is not True:
        raise _unexpected(line)


def _answer(line: bytes, number: str) -> tuple[bytes, str | None]:
    """Return the body and what went wrong of the answer to question `number`. Raise HelperDied if it is not that."""
    match _message(line):
        case {"id": str(known), "body": str(body), **rest} if known == number and not rest:
            try:
                return base64.b64decode(body, validate=True), None
            except ValueError as error:
                raise _unexpected(line) from error
        case {"id": str(known), "error": str(fault), **rest} if known == number and not rest:
            return b"", fault
    raise _unexpected(line)


def _message(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _unexpected(line) from error
    if not isinstance(message, dict):
        raise _unexpected(line)
    return message


def _unexpected(line: bytes) -> HelperDied:
    shown = line[:_SHOWN].decode(errors="backslashreplace")
    return HelperDied(f"the lab's process said what was not expected of it: {shown!r}")


def _piped(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise HelperDied("the pipe is closed")
    return pipe
