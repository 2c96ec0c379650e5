"""For each planted bug, a few moves after which a sound ledger is as it should be and a spoilt one is not.

A scenario plays the same moves whether the bug is there or not; what is wrong afterwards, the checker says.
"""

import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import pytest

from models.workers import greet
from tests.faults.stand import LEASE, PERIOD, Hand, Stand, child_environment
from tests.support.ledger import definition
from tests.support.redis_server import Broker
from tests.support.sources import ROOT

_LONG = 3600.0

# Writes a checkpoint at the path given, whole or as far as the size that the process may write to a file.
_WRITER = """
import pathlib, resource, signal, sys
from training import files
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
files.write(pathlib.Path(sys.argv[1]), bytes(range(256)) * 256)
"""
_WHOLE = bytes(range(256)) * 256


def _zombie(stand: Stand) -> tuple[Hand, Hand]:
    """Let a worker be stopped until its trial is another's; both have trained a step."""
    stand.ledger.create(definition(trials=1))
    old, new = stand.hand("old"), stand.hand("new")
    watch = stand.watch()
    stand.oracle.write("fault", event="begin", name="stop worker", target="old")
    first = old.claim()
    old.step(first, 1, 0.9)
    watch.sweep(LEASE)
    stand.ledger.clock.move(_LONG)
    new.step(new.claim(), 1, 0.2)
    stand.oracle.write("fault", event="end", name="stop worker", target="old")
    return old, new


def zombie_after_the_end(stand: Stand) -> None:
    """A worker wakes up when the next attempt has completed, and says its own result."""
    old, new = _zombie(stand)
    new.finish(new.last, 0.2)
    old.finish(old.last, 0.9)


def zombie_before_the_end(stand: Stand) -> None:
    """A worker wakes up while the next attempt runs, and says its own result."""
    old, new = _zombie(stand)
    old.finish(old.last, 0.9)
    new.finish(new.last, 0.2)


def clock_ahead(stand: Stand) -> None:
    """The reaper's host is an hour ahead, and a worker at work."""
    stand.ledger.create(definition(trials=1))
    worker, other = stand.hand("worker"), stand.hand("other")
    now = stand.ledger.clock()
    row = {"id": "worker", "host": "h", "pid": 1, "queue": "cpu", "device": None, "capacity": 1}
    row |= {"started_at": now, "seen_at": now}
    stand.ledger.database.write(lambda connection: greet(connection, row))
    stand.oracle.write("fault", event="begin", name="clock ahead", target="reaper")
    watch = stand.watch(ahead=_LONG)
    claim = worker.claim()
    for step in range(1, 4):
        watch.sweep()
        worker.step(claim, step, 0.5)
        worker.worker.heartbeat([claim])
        watch.now += PERIOD
    stand.ledger.clock.move(2 * _LONG)
    taken = other.look()
    worker.finish(claim, 0.5)
    for again in taken:
        other.run(again, 0.25)


def killed_behind_its_reply(stand: Stand) -> None:
    """An API process dies right after it has answered a POST."""
    with stand.server() as server:
        assert server.caller.post("/studies", definition(), key="a")["state"] == "running"
        server.process.kill()


def killed_before_its_reply(stand: Stand) -> None:
    """An API process dies right after its first commit for a POST, and the client asks another one again."""
    with stand.server(TUNEUP_FAULTS_CRASH="a request committed, not answered@1") as server:
        assert server.caller.post("/studies", definition(), key="a") is None
    with stand.server() as server:
        assert server.caller.post("/studies", definition(), key="a")["state"] == "running"


def the_same_key_again(stand: Stand) -> None:
    """A client that saw no reply, or does not trust it, sends its POST again."""
    with stand.api() as caller:
        for _ in range(2):
            caller.post("/studies", definition(), key="a")


def a_trial_runs_again(stand: Stand) -> None:
    """One trial of four takes two attempts."""
    stand.ledger.create(definition(trials=4))
    hand = stand.hand("worker")
    hand.worker.release([hand.claim()], reason="released")
    while taken := hand.look():
        hand.run(taken[0], 0.5)


def a_study_is_posted(stand: Stand) -> None:
    """A worker looks for work the moment it is nudged."""
    with stand.api() as caller:
        caller.post("/studies", definition())


def not_a_number(stand: Stand) -> None:
    """A trial measures NaN, then goes on. To refuse the first measurement is right."""
    stand.ledger.create(definition(trials=1))
    hand = stand.hand("worker")
    claim = hand.claim()
    with suppress(ValueError):
        hand.step(claim, 1, float("nan"))
    hand.step(claim, 2, 0.5)
    hand.finish(claim, 0.5)


def two_attempts(stand: Stand) -> None:
    """A trial is given back and taken up again."""
    stand.ledger.create(definition(trials=1))
    hand = stand.hand("worker")
    hand.worker.release([hand.claim()], reason="released")
    hand.run(hand.claim(), 0.5)


def redis_loses_all(stand: Stand) -> None:
    """A study is cancelled, and Redis starts again, empty."""
    broker = Broker()
    with pytest.MonkeyPatch.context() as patch, stand.api() as caller:
        patch.setenv("TUNEUP_BROKER_URL", broker.url)
        try:
            study = caller.post("/studies", definition())["id"]
            assert caller.post(f"/studies/{study}:cancel")["state"] == "cancelled"
            assert stand.hand("worker").look() == []
            broker.stop()
            broker.start()
            stand.hand("worker").look()
        finally:
            broker.stop()


def killed_while_writing(stand: Stand) -> None:
    """A trainer writes one checkpoint, and is killed by the kernel in the middle of the next."""
    folder = stand.folder / "checkpoints"
    folder.mkdir()
    for name, most, status in (("1-1-1.pt", len(_WHOLE), 0), ("1-2-2.pt", len(_WHOLE) // 2, -signal.SIGXFSZ)):
        path = folder / name
        stand.oracle.write("checkpoint", path=str(path), sha256=hashlib.sha256(_WHOLE).hexdigest())
        bug = {"TUNEUP_FAULTS_BUG": stand.bug} if stand.bug is not None else {}
        command = [sys.executable, "-c", _WRITER, str(path), str(most)]
        ended = subprocess.run(command, cwd=ROOT, env=child_environment(**bug), check=False)
        assert ended.returncode == status


@dataclass(frozen=True, slots=True)
class Scenario:
    """The moves; the promise that the checker says is broken; and whether it starts programs that take seconds."""

    play: Callable[[Stand], None]
    promise: str
    slow: bool = False


SCENARIOS: Mapping[str, Scenario] = {
    "no_fence": Scenario(zombie_after_the_end, "no invention"),
    "no_attempt_in_where": Scenario(zombie_before_the_end, "no invention"),
    "reaper_by_wall_clock": Scenario(clock_ahead, "a living worker keeps its trial"),
    "reply_before_commit": Scenario(killed_behind_its_reply, "an acknowledged study is there", slow=True),
    "missing_unique_index": Scenario(the_same_key_again, "one study for one key"),
    "retry_counts_in_budget": Scenario(a_trial_runs_again, "numbers and budget"),
    "nudge_before_commit": Scenario(a_study_is_posted, "a nudge leaves after the commit"),
    "nan_accepted": Scenario(not_a_number, "only finite numbers"),
    "token_reused": Scenario(two_attempts, "one token for one attempt"),
    "cancel_only_in_redis": Scenario(redis_loses_all, "cancelled stays cancelled"),
    "checkpoint_without_rename": Scenario(killed_while_writing, "no torn checkpoint"),
    "idempotency_key_outside_transaction": Scenario(killed_before_its_reply, "one study for one key", slow=True),
}
