"""What the domain refuses, as one tree.

TuneupError
 ├── InvalidStudy   the definition cannot be run; carries every fault, each with its field path
 ├── InvalidValue   one value of a request cannot be accepted; carries its faults likewise
 ├── NotFound       no such thing in this project
 └── Conflict       it exists, but its state does not allow this; may carry faults that name the field

Every message names the thing and the remedy. HTTP statuses are the API's business (`api/errors.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where (`space.lr.low`) and what to do about it."""

    path: str
    message: str


class TuneupError(Exception):
    """Base of every error the domain raises on purpose."""


class InvalidValue(TuneupError):
    """The request is well-formed but cannot be accepted; `faults` lists all that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.path}: {fault.message}" for fault in self.faults))


class InvalidStudy(InvalidValue):
    """A study definition was refused as a whole."""


class NotFound(TuneupError):
    """There is no such thing, or none in this project."""


class Conflict(TuneupError):
    """The state of the thing does not allow the request; `faults` names the field where one is to blame."""

    def __init__(self, message: str, faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(message)
