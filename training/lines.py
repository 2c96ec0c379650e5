"""What a user's command says on standard output: JSON lines, and between them lines of log.

    {"step": 1, "values": {"val_loss": 0.3}}      a measurement: a whole step from 0, and numbers by name
    {"checkpoint": "/abs/file", "step": 3}        a checkpoint that it has finished writing
    {"outcome": "diverged", "reason": "..."}      its last word, optional

An object with one of the keys `values`, `checkpoint` and `outcome` is meant for us and must be well formed. Every other
line is log. NaN and infinity are read, whether written as such or too large for a double, so that they can be named.
"""

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, TypeAlias

LINE_BYTES = 1024 * 1024
MOST_NAMES = 64
LONGEST_NAME = 128
# Control characters and lone surrogates.
_UNSTORABLE = frozenset({"Cc", "Cs"})
OUTCOMES = ("completed", "diverged", "failed")
_STEP_LIMIT = 2**63


class Malformed(Exception):
    """A line that was meant for us and cannot be used; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The values of a step; they may be NaN or infinite."""

    step: int
    values: Mapping[str, float]

    def not_finite(self) -> str | None:
        """Say which value is not finite, None if all are."""
        for name, value in self.values.items():
            if not math.isfinite(value):
                return f"{name} is {value} at step {self.step}"
        return None


@dataclass(frozen=True, slots=True)
class Finished:
    """A checkpoint file that the command says is whole, after `step` steps."""

    path: Path
    step: int


@dataclass(frozen=True, slots=True)
class LastWord:
    """How the command says that its trial ended."""

    outcome: str
    reason: str | None


Said: TypeAlias = Measurement | Finished | LastWord


def split(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a stream as they come. Raise Malformed for one over LINE_BYTES."""
    while line := stream.readline(LINE_BYTES + 1):
        if len(line) > LINE_BYTES:
            raise Malformed(f"a line on standard output is over {LINE_BYTES} bytes; the limit is for each line")
        yield line


def understand(line: bytes) -> Said | None:
    """Return what a line says to us, None if it is log. Raise Malformed if it is neither."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    readers = [reader for key, reader in _READERS.items() if key in message]
    return readers[0](message) if readers else None


def _measurement(message: Mapping[str, Any]) -> Measurement:
    step, values = _step(message, "measurement"), message["values"]
    if not isinstance(values, dict) or not values:
        raise Malformed(f"measurement of step {step}: values must be an object of at least one number")
    if len(values) > MOST_NAMES:
        raise Malformed(f"measurement of step {step}: values must have at most {MOST_NAMES} numbers, got {len(values)}")
    for name, value in values.items():
        if not 0 < len(name) <= LONGEST_NAME or any(unicodedata.category(each) in _UNSTORABLE for each in name):
            said = json.dumps(name)[:80]
            raise Malformed(
                f"measurement of step {step}: a name must be 1 to {LONGEST_NAME} plain characters, got {said}"
            )
        if type(value) not in {int, float}:
            raise Malformed(f"measurement of step {step}: {name} must be a number, got {json.dumps(value)[:40]}")
    return Measurement(step, {name: _double(value) for name, value in values.items()})


def _finished(message: Mapping[str, Any]) -> Finished:
    path, step = message["checkpoint"], _step(message, "checkpoint")
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path or not _is_text(path):
        raise Malformed(
            f"checkpoint of step {step}: it must be an absolute path in plain text, got {json.dumps(path)[:80]}"
        )
    return Finished(Path(path), step)


def _last_word(message: Mapping[str, Any]) -> LastWord:
    outcome, reason = message["outcome"], message.get("reason")
    if outcome not in OUTCOMES:
        raise Malformed(f"outcome must be one of {', '.join(OUTCOMES)}, got {json.dumps(outcome)[:40]}")
    return LastWord(outcome, None if reason is None else str(reason))


def _step(message: Mapping[str, Any], kind: str) -> int:
    if "step" not in message:
        raise Malformed(f"{kind}: step is missing")
    step = message["step"]
    if type(step) is not int or not 0 <= step < _STEP_LIMIT:
        raise Malformed(f"{kind}: step must be a whole number from 0, got {json.dumps(step)[:40]}")
    return step


def _is_text(text: str) -> bool:
    """Say whether it has no lone surrogate, which stands for what is no text: no database would store it."""
    return all(unicodedata.category(each) != "Cs" for each in text)


def _double(value: float) -> float:
    """Return a number as a double; a whole number that is too large for one as infinity, as JSON's 1e999 is read."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Said]] = MappingProxyType(
    {"values": _measurement, "checkpoint": _finished, "outcome": _last_word}
)
