"""What the client raises, as one tree.

TuneupError
 ├── ApiError            the service answered with a problem; carries status, title, detail and faults
 │    ├── BadStudy       it refused a study definition (400, 413 or 422 to its creation)
 │    ├── NotFound       no such thing (404)
 │    ├── Conflict       the state of the thing does not allow this (409)
 │    └── Unauthorized   the key is missing or not accepted (401, 403)
 ├── UnreadableStudy     a definition that is not YAML or JSON, or holds what JSON cannot; nothing was sent
 ├── Unreachable         no answer after every retry, or an address that cannot be one
 └── TimedOut            the time given to `Study.wait` is spent; the study goes on running
"""

from collections.abc import Iterable
from dataclasses import dataclass

SHOWN_FAULTS = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request: where (`space.lr.low`) and what to do about it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class TuneupError(Exception):
    """Base of every error the client raises on purpose; its text is `lines`."""

    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return the message, then the faults, each on a line of its own: the first SHOWN_FAULTS, and how many more."""
        rest = len(self.faults) - SHOWN_FAULTS
        more = [f"  and {rest} more"] if rest > 0 else []
        return [super().__str__(), *(f"  {fault}" for fault in self.faults[:SHOWN_FAULTS]), *more]


class ApiError(TuneupError):
    """The service answered with a problem. `status` is the HTTP status; `faults` lists each thing that is wrong."""

    def __init__(self, *, status: int, title: str, detail: str = "", faults: Iterable[Fault] = ()) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.faults = tuple(faults)
        super().__init__(f"{title}: {detail}" if detail and detail != title else title)


class BadStudy(ApiError):
    """The service refused a study definition as a whole; nothing was stored."""


class NotFound(ApiError):
    """There is no such thing on this service."""


class Conflict(ApiError):
    """The state of the thing does not allow the request."""


class Unauthorized(ApiError):
    """The key is missing, or this service does not accept it."""


class UnreadableStudy(TuneupError):
    """A study definition could not be read; `faults` names what is wrong where that is known."""

    def __init__(self, message: str, *, faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(faults)
        super().__init__(message)


class Unreachable(TuneupError):
    """The service gave no usable answer after every retry."""


class TimedOut(TuneupError):
    """The time given is spent; the study goes on running."""
