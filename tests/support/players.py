"""Trainers that tests play: what a shift hears from them and tells them, without a process."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from workers.trainer import TrainerDied

Message = Mapping[str, Any]
# What a trainer says once it is given a trial, by the words it was given it with.
Act = Callable[[Message], Iterable[Message]]


def measured(trial: str, step: int, value: float) -> dict[str, Any]:
    return {"type": "measurement", "trial": trial, "step": step, "values": {"val_loss": value}}


def over(trial: str, outcome: str = "completed", **more: Any) -> dict[str, Any]:
    return {"type": "done", "trial": trial, "outcome": outcome, **more}


def room(members: object) -> dict[str, Any]:
    return {"type": "room", "members": members, "lane": "a lane"}


def completes(start: Message) -> list[Message]:
    """Train one step, at once."""
    return [measured(start["trial"], 1, 0.5), over(start["trial"])]


def trains_on(start: Message) -> list[Message]:
    """Report one step and go on until told to stop."""
    return [measured(start["trial"], 1, 0.5)]


class Player:
    """Keeps what it is told, and what was done to it, as a `workers.trainer.Trainer` would be."""

    def __init__(self, kind: str = "training") -> None:
        self.kind = kind
        self.trials = self.shared = 0
        self.worn = False
        self.alive = True
        self.told: list[Message] = []

    def wait_ready(self, *, give_up: Callable[[], bool]) -> bool:
        return not give_up()

    def send(self, message: Message) -> None:
        self.told.append(message)

    def receive(self, *, timeout: float) -> Sequence[Message]:
        time.sleep(min(timeout, 0.005))
        return []

    def kill(self) -> None:
        self.alive = False

    def of(self, kind: str) -> list[Message]:
        """Return what it was told of this type."""
        return [message for message in self.told if message["type"] == kind]


class Reciter(Player):
    """Says what it was given to say, one message at a time (None is a silence), and then dies, unless all is said."""

    def __init__(
        self, *messages: Message | None, pause: float = 0.0, on_start: Callable[[], None] | None = None
    ) -> None:
        super().__init__()
        self.messages = deque(messages)
        self.pause = pause
        self.on_start = on_start
        self.ended = False

    def send(self, message: Message) -> None:
        super().send(message)
        if message["type"] == "start" and self.on_start is not None:
            self.on_start()

    def receive(self, *, timeout: float) -> Sequence[Message]:
        time.sleep(self.pause)
        if not self.messages:
            if not self.ended:
                raise TrainerDied("it said no more")
            return super().receive(timeout=timeout)
        said = self.messages.popleft()
        self.ended = said is not None and said["type"] == "done"
        return [] if said is None else [said]


class Troupe(Player):
    """Has room for many, and acts for each trial as it is told to; who is stopped stops, unless it is `deaf`."""

    def __init__(self, act: Act = completes, *, room: int | None = None, deaf: bool = False) -> None:
        super().__init__()
        self.act = act
        self.deaf = deaf
        self.said: deque[Message] = deque()
        self.on: set[str] = set()
        self.most = 0
        # Set to have it die the next time it is listened to.
        self.epitaph: str | None = None
        if room is not None:
            self.say({"type": "room", "members": room, "lane": "a lane"})

    def say(self, *messages: Message) -> None:
        self.said.extend(messages)

    def send(self, message: Message) -> None:
        super().send(message)
        trial = message.get("trial", "")
        if message["type"] == "start":
            self.on.add(trial)
            self.most = max(self.most, len(self.on))
            self.say(*self.act(message))
        elif message["type"] == "stop" and not self.deaf:
            self.say(over(trial, "stopped"))
        elif message["type"] in {"verdict", "verdicts"} and not self.deaf:
            verdicts = message.get("of") or [[trial, message.get("step"), message.get("stop"), None]]
            self.say(*(over(each, "stopped") for each, _, stop, _ in verdicts if stop and each in self.on))

    def receive(self, *, timeout: float) -> Sequence[Message]:
        if self.epitaph is not None:
            raise TrainerDied(self.epitaph)
        if not self.said:
            return super().receive(timeout=timeout)
        batch = [self.said.popleft() for _ in range(len(self.said))]
        self.on -= {message["trial"] for message in batch if message["type"] == "done"}
        return batch
