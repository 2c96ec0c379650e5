"""What a trainer says of a trial's end, read with suspicion: users' code may say anything, and no database stores NUL."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from search.definition.hygiene import escaped
from search.trials.dispatch import Ran
from search.trials.failures import Failure
from training.protocol import DEVICE, OUT_OF_MEMORY, Message

# How the reason of a failure begins that is not its trial's own; with any other it is a user's error.
_FAILURES = {OUT_OF_MEMORY: Failure.OUT_OF_MEMORY, DEVICE: Failure.INFRASTRUCTURE}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trainer says that a trial ended; `outcome` is one of the protocol's OUTCOMES."""

    outcome: str
    reason: str | None
    error: str | None
    ran: Ran | None


@dataclass(frozen=True, slots=True)
class Loss:
    """How a trial ended without a word of its trainer's: as what failure (None = uncharged), and how many shared it."""

    failure: Failure | None
    said: str
    shared: int = 1


def read_outcome(message: Message) -> Outcome:
    """Read a `done`. Raise KeyError where it names no outcome."""
    return Outcome(
        outcome=message["outcome"],
        reason=storable(message.get("reason")),
        error=storable(message.get("error")),
        ran=read_ran(message.get("ran")),
    )


def read_ran(said: object) -> Ran | None:
    """Read how a trial was trained; None where nothing sensible is said of it."""
    if not isinstance(said, Mapping):
        return None
    population, seconds = _number(said.get("population")), _number(said.get("seconds"))
    if population is None or seconds is None:
        return None
    return Ran(
        lane=_text(said.get("lane")),
        population=max(1, int(population)),
        seconds=max(0.0, seconds),
        alone=_text(said.get("alone")),
    )


def failure_of(reason: str | None) -> tuple[Failure, str | None]:
    """Return the class of a failure, and what its reason says beside that."""
    name, _, rest = (reason or "").partition(": ")
    failure = _FAILURES.get(name)
    if failure is None:
        return Failure.USER_ERROR, reason
    return failure, rest or (None if name == failure.value else name)


def storable(text: str | None) -> str | None:
    """Write out what no database stores."""
    return None if text is None else escaped(text)


def _text(value: object) -> str | None:
    return storable(value) if isinstance(value, str) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
