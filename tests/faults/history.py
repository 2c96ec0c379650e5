"""The oracle's lines, put in order: requests with their replies, what each attempt trained, faults, nudges, files."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.ids import read_study, read_trial
from tests.faults.oracle import read

Place = tuple[int, int, int]  # (study, number, attempt)
Line = Mapping[str, Any]

LONGEST_FAULT = 30.0  # seconds

_ROUTE = re.compile(r"/(?P<what>studies|trials)(?:/(?P<id>[0-9a-z-]+))?(?P<verb>[:/][a-z:/]+)?$")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came of it. `status` and `answered` are None where no reply was seen."""

    method: str
    path: str
    key: str | None
    body: Any
    asked: float
    status: int | None
    reply: Any
    answered: float | None

    @property
    def accepted(self) -> bool:
        """Whether the service said that it did this."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether the service said that it did not."""
        return self.status is not None and 400 <= self.status < 500

    @property
    def route(self) -> tuple[str, str, str | None]:
        """Return what was asked for: the method, the path without its id (`/trials:tell`), and the id."""
        found = _ROUTE.search(self.path.partition("?")[0])
        if found is None:
            return self.method, self.path, None
        return self.method, f"/{found['what']}{found['verb'] or ''}", found["id"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to the system, from `begin` to `end`; one whose end was not noted lasts LONGEST_FAULT."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class History:
    """All that was seen from outside."""

    exchanges: tuple[Exchange, ...]
    trained: Mapping[Place, tuple[Line, ...]]
    faults: tuple[Fault, ...]
    nudges: tuple[Line, ...]
    checkpoints: tuple[Line, ...]

    def to(self, method: str, path: str) -> Iterator[tuple[str | None, Exchange]]:
        """Yield (id, exchange) of every request to one route."""
        for exchange in self.exchanges:
            asked_method, asked_path, name = exchange.route
            if (asked_method, asked_path) == (method, path):
                yield name, exchange

    def studies(self, method: str, path: str) -> Iterator[tuple[int, Exchange]]:
        """Yield (study, exchange) of every request to one route of a study."""
        for name, exchange in self.to(method, path):
            study_id = read_study(name or "")
            if study_id is not None:
                yield study_id, exchange

    def trials(self, method: str, path: str) -> Iterator[tuple[tuple[int, int], Exchange]]:
        """Yield ((study, number), exchange) of every request to one route of a trial."""
        for name, exchange in self.to(method, path):
            place = read_trial(name or "")
            if place is not None:
                yield place, exchange


def read_history(oracle: Path) -> History:
    """Read the whole oracle; a file that is missing is an empty history."""
    lines: dict[str, list[Line]] = defaultdict(list)
    if oracle.exists():
        for line in read(oracle):
            lines[line["kind"]].append(line)
    return History(
        exchanges=tuple(_exchanges(lines["http"])),
        trained=_trained(lines["train"]),
        faults=tuple(_faults(lines["fault"])),
        nudges=tuple(lines["nudge"]),
        checkpoints=tuple(lines["checkpoint"]),
    )


def _exchanges(lines: list[Line]) -> Iterator[Exchange]:
    replies = {line["id"]: line for line in lines if line["event"] == "reply"}
    for line in lines:
        if line["event"] == "request":
            reply = replies.get(line["id"], {})
            yield Exchange(
                method=line["method"],
                path=line["path"],
                key=line.get("key"),
                body=line.get("body"),
                asked=line["at"],
                status=reply.get("status"),
                reply=reply.get("reply"),
                answered=reply.get("at"),
            )


def _trained(lines: list[Line]) -> dict[Place, tuple[Line, ...]]:
    found: dict[Place, list[Line]] = defaultdict(list)
    for line in lines:
        place = read_trial(line["trial"])
        if place is None:
            raise ValueError(f"the oracle names no trial: {line}")
        found[*place, line["attempt"]].append(line)
    return {place: tuple(seen) for place, seen in found.items()}


def _faults(lines: list[Line]) -> Iterator[Fault]:
    """Pair each begin with the next end of the same name and target."""
    ends: dict[tuple[Any, Any], list[float]] = defaultdict(list)
    for line in lines:
        if line["event"] == "end":
            ends[line["name"], line.get("target")].append(line["at"])
    for line in lines:
        if line["event"] == "begin":
            begin, later = line["at"], ends[line["name"], line.get("target")]
            yield Fault(line["name"], begin, next((at for at in later if at >= begin), begin + LONGEST_FAULT))
