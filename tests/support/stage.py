"""A supervisor on a stage: its trainers are played, and what it asks of the ledger is counted."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.ledger import Ledger
from tests.support.players import Act, Message, Troupe, completes
from workers.habits import Habits
from workers.supervisor import Supervisor

SECONDS = 60.0


class Stage:
    """A supervisor whose trainers are played, and what it has asked of the ledger."""

    def __init__(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, **habits: Any) -> None:
        self.ledger = ledger
        self.patch = monkeypatch
        self.supervisor = Supervisor(
            ledger.database, Habits(queue="cpu", **habits), nudge=lambda _: None, clock=ledger.clock
        )
        self.calls: dict[str, list[int]] = {}
        self.started: list[Troupe] = []
        for name in ("report", "finish", "claim"):
            self._count(name)

    def plays(self, act: Act = completes, *, room: int | None = 8, **more: Any) -> Troupe:
        """Let every trainer act so; return the first of them, which has not started yet."""
        first = Troupe(act, room=room, **more)

        def start(kind: str, *, threads: int) -> Troupe:
            assert threads == 1
            made = Troupe(act, room=room, **more) if self.started else first
            made.kind = kind
            self.started.append(made)
            return made

        self.patch.setattr("workers.keeper.Trainer", start)
        return first

    def states(self) -> list[str]:
        return [trial.state for trial in self.ledger.rows("trial")]

    def attempts(self) -> list[tuple[str, str | None]]:
        return [(row.state, row.reason) for row in self.ledger.rows("attempt")]

    def in_background(self) -> threading.Thread:
        turn = threading.Thread(target=self.supervisor.turn, daemon=True)
        turn.start()
        return turn

    def _count(self, name: str) -> None:
        dispatcher = self.supervisor.dispatcher
        real, calls = getattr(dispatcher, name), self.calls.setdefault(name, [])

        def counted(*given: Any, **more: Any) -> Any:
            said = real(*given, **more)
            calls.append(len(said) if name == "claim" else len(given[0]))
            return said

        self.patch.setattr(dispatcher, name, counted)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)


def number_of(message: Message) -> int:
    return int(message["trial"].rpartition("-")[2])
