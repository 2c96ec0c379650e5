"""What is done to the service: a table of faults, each a function of the deployment and a random generator.

A fault says what it hit, or None where it found nothing to hit. It never waits: what must be undone later is put off.
"""

import json
import signal
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from random import Random
from typing import Protocol

import redis

from tests.faults.clients import Clients
from tests.faults.processes import LEASE_SECONDS, Programs, send
from tests.faults.proxy import CommitFault, Proxy
from tests.faults.servers import Postgres, Redis, SqliteFile
from workers.queue import LOOK


class Target(Protocol):
    """What a fault may lay hands on."""

    postgres: Postgres | SqliteFile
    redis: Redis
    postgres_proxy: Proxy
    redis_proxy: Proxy
    programs: Programs
    clients: Clients

    def later(self, seconds: float, undo: Callable[[], None]) -> None:
        """Do something in so many seconds."""

    def killed(self, pid: int) -> None:
        """Note that a supervisor was killed just now."""


Fault = Callable[[Target, Random], str | None]


def _kill_supervisor(target: Target, rng: Random) -> str | None:
    worker = rng.choice(target.programs.workers)
    pid = worker.supervisor()
    if pid is None:
        return None
    send(pid, signal.SIGKILL)
    target.killed(pid)
    return f"{worker.name} {pid}"


def _kill_trainer(target: Target, rng: Random) -> str | None:
    worker = rng.choice(target.programs.workers)
    pid = worker.trainer()
    if pid is None:
        return None
    send(pid, signal.SIGKILL)
    return f"{worker.name} {pid}"


def _kill_worker(target: Target, rng: Random) -> str | None:
    """Kill the Celery worker; the kernel ends its child, and the trainer below."""
    worker = rng.choice(target.programs.workers)
    child = worker.supervisor()
    if not worker.running or child is None:
        return None
    worker.signal(signal.SIGKILL)
    target.killed(child)
    return worker.name


def _terminate_worker(target: Target, rng: Random) -> str | None:
    worker = rng.choice(target.programs.workers)
    if worker.told_at is not None or worker.supervisor() is None:
        return None
    worker.terminate()
    return worker.name


def _stop_supervisor(target: Target, rng: Random) -> str | None:
    """Stop it for less than a lease, or for longer: then it wakes as a zombie."""
    worker = rng.choice(target.programs.workers)
    pid = worker.supervisor()
    if pid is None:
        return None
    seconds = LEASE_SECONDS * rng.choice([0.5, 1.5, 3.0])
    send(pid, signal.SIGSTOP)
    target.later(seconds, partial(send, pid, signal.SIGCONT))
    return f"{worker.name} {pid} for {seconds:.1f} s"


def _stop_trainer(target: Target, rng: Random) -> str | None:
    worker = rng.choice(target.programs.workers)
    pid = worker.trainer()
    if pid is None:
        return None
    seconds = rng.uniform(0.5, 2 * LEASE_SECONDS)
    send(pid, signal.SIGSTOP)
    target.later(seconds, partial(send, pid, signal.SIGCONT))
    return f"{worker.name} {pid} for {seconds:.1f} s"


def _kill_api(target: Target, rng: Random) -> str | None:
    api = rng.choice(target.programs.apis)
    if not api.running:
        return None
    api.signal(signal.SIGKILL)
    return api.name


def _terminate_api(target: Target, rng: Random) -> str | None:
    api = rng.choice(target.programs.apis)
    if not api.running or api.told_at is not None:
        return None
    api.terminate()
    return api.name


def _stop_api(target: Target, rng: Random) -> str | None:
    """Stop an API and the reaper in it, also for longer than a lease."""
    api = rng.choice(target.programs.apis)
    if not api.running:
        return None
    seconds = LEASE_SECONDS * rng.choice([0.3, 0.8, 1.5])
    pid = api.pid
    send(pid, signal.SIGSTOP)
    target.later(seconds, partial(send, pid, signal.SIGCONT))
    return f"{api.name} for {seconds:.1f} s"


def _crash_postgres(target: Target, rng: Random, *, fast: bool = False) -> str | None:
    if not target.postgres.running:
        return None
    seconds = rng.choice([0.1, 0.5, 2.0, 4.0])
    target.postgres.stop(fast=fast)
    target.later(seconds, target.postgres.start)
    return f"for {seconds:.1f} s"


def _fill_disk(target: Target, rng: Random) -> str | None:
    """Leave PostgreSQL no room; it refuses to write, or crashes and cannot recover until there is room again."""
    if not target.postgres.running or not target.postgres.fill_disk():
        return None
    seconds = rng.uniform(0.5, 3)
    target.later(seconds, target.postgres.free_disk)
    return f"for {seconds:.1f} s"


def _terminate_backends(target: Target, rng: Random) -> str | None:
    del rng
    if not target.postgres.running:
        return None
    target.postgres.terminate()
    return "every session"


def _hurt_commits(target: Target, rng: Random, *, how: CommitFault) -> str | None:
    if not target.postgres_proxy.links:
        return None
    count = rng.choice([1, 2, 5, 10])
    target.postgres_proxy.hurt_commits(how, count)
    return f"{count} commits"


def _kill_redis(target: Target, rng: Random, *, seconds: tuple[float, float]) -> str | None:
    if not target.redis.running:
        return None
    away = rng.uniform(*seconds)
    target.redis.kill()
    target.later(away, target.redis.start)
    return f"for {away:.1f} s"


def _flush_redis(target: Target, rng: Random) -> str | None:
    del rng
    return "everything" if _tell_redis(target, "FLUSHALL") else None


def _fill_redis(target: Target, rng: Random) -> str | None:
    if not _tell_redis(target, "CONFIG", "SET", "maxmemory", "1mb"):
        return None
    seconds = rng.uniform(1, 5)
    target.later(seconds, partial(_widen_redis, target))
    return f"for {seconds:.1f} s"


def _widen_redis(target: Target) -> None:
    _tell_redis(target, "CONFIG", "SET", "maxmemory", "0")


def _tell_redis(target: Target, *words: str | bytes) -> bool:
    with suppress(redis.RedisError):
        target.redis.command(*words)
        return True
    return False


def _proxy(target: Target, which: str) -> Proxy:
    return target.postgres_proxy if which == "postgres" else target.redis_proxy


def _slow_link(target: Target, rng: Random, *, which: str) -> str | None:
    proxy = _proxy(target, which)
    if proxy.latency or not proxy.links:
        return None
    proxy.latency = rng.choice([0.02, 0.1, 0.3])
    seconds = rng.uniform(1, 3)
    target.later(seconds, partial(setattr, proxy, "latency", 0.0))
    return f"{proxy.latency} s for {seconds:.1f} s"


def _hole_in_link(target: Target, rng: Random, *, which: str) -> str | None:
    proxy = _proxy(target, which)
    if proxy.hole or not proxy.links:
        return None
    proxy.hole = True
    seconds = rng.uniform(0.5, 2.5)
    target.later(seconds, partial(setattr, proxy, "hole", False))
    return f"for {seconds:.1f} s"


def _reset_link(target: Target, rng: Random, *, which: str) -> str | None:
    del rng
    count = _proxy(target, which).reset()
    return f"{count} connections" if count else None


def _cut_link(target: Target, rng: Random, *, which: str) -> str | None:
    proxy = _proxy(target, which)
    if not proxy.links:
        return None
    count = rng.choice([1, 7, 100, 1000, 4000])
    proxy.cut_after(count)
    return f"after {count} bytes"


def _many_nudges(target: Target, rng: Random) -> str | None:
    """Deliver one nudge many times, with one id."""
    count = rng.randint(2, 50)
    message = nudge(LOOK, str(uuid.UUID(int=rng.getrandbits(128))))
    return f"{count} times" if _tell_redis(target, "LPUSH", "cpu", *[message] * count) else None


def _forged_nudges(target: Target, rng: Random) -> str | None:
    """Put onto the queue what no one of us would."""
    made = str(uuid.UUID(int=rng.getrandbits(128)))
    forged = {
        "unknown task": nudge("tuneup.nothing", made),
        "arguments": nudge(LOOK, made, [1, {"a": 2}]),
        "old": nudge(LOOK, made, expires="2001-01-01T00:00:00+00:00"),
        "pickle": nudge(LOOK, made).replace("application/json", "application/x-python-serialize"),
        "garbage": "{{{",
        "no body": json.dumps({"headers": {}, "properties": {"delivery_tag": made, "delivery_info": {}}}),
    }
    name = rng.choice(sorted(forged))
    return name if _tell_redis(target, "LPUSH", "cpu", forged[name]) else None


def nudge(task: str, made: str, arguments: list[object] | None = None, *, expires: str | None = None) -> str:
    """Write a message as Celery's transport does for Redis."""
    headers = {"lang": "py", "task": task, "id": made, "root_id": made, "retries": 0, "expires": expires}
    properties = {
        "correlation_id": made,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "cpu"},
        "priority": 0,
        "delivery_tag": made,
    }
    return json.dumps(
        {
            "body": json.dumps([arguments or [], {}, {}]),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers,
            "properties": properties,
        }
    )


def _cancel_study(target: Target, rng: Random) -> str | None:
    return _with_study(target, rng, target.clients.cancel)


def _pause_study(target: Target, rng: Random) -> str | None:
    seconds = rng.uniform(0.1, 4)
    return _with_study(target, rng, lambda study: target.clients.pause(study, seconds))


def _change_budget(target: Target, rng: Random) -> str | None:
    change = rng.choice([-20, -5, -1, 1, 5, 20])
    return _with_study(
        target,
        rng,
        lambda study: target.clients.change_budget(study, max(1, study["progress"]["budget"] + change)),
    )


def _act_on_trial(target: Target, rng: Random, *, state: str, verb: str) -> str | None:
    return _with_study(target, rng, lambda study: target.clients.act_on_trial(study, state, verb))


def _with_study(target: Target, rng: Random, act: Callable[..., None]) -> str | None:
    live = target.clients.live()
    if not live:
        return None
    study = rng.choice(live)
    target.clients.do(partial(act, study))
    return f"study {study['id']}"


FAULTS: Mapping[str, Fault] = {
    "kill supervisor": _kill_supervisor,
    "kill trainer": _kill_trainer,
    "kill worker": _kill_worker,
    "terminate worker": _terminate_worker,
    "stop supervisor": _stop_supervisor,
    "stop trainer": _stop_trainer,
    "kill api": _kill_api,
    "terminate api": _terminate_api,
    "stop api": _stop_api,
    "crash postgres": _crash_postgres,
    "restart postgres": partial(_crash_postgres, fast=True),
    "postgres disk full": _fill_disk,
    "terminate backends": _terminate_backends,
    "commit unknown": partial(_hurt_commits, how="reply lost"),
    "commit swallowed": partial(_hurt_commits, how="swallowed"),
    "postgres slow": partial(_slow_link, which="postgres"),
    "postgres held": partial(_hole_in_link, which="postgres"),
    "postgres reset": partial(_reset_link, which="postgres"),
    "postgres cut": partial(_cut_link, which="postgres"),
    "restart redis": partial(_kill_redis, seconds=(0.0, 0.5)),
    "redis down": partial(_kill_redis, seconds=(3.0, 6.0)),
    "flush redis": _flush_redis,
    "redis full": _fill_redis,
    "redis slow": partial(_slow_link, which="redis"),
    "redis held": partial(_hole_in_link, which="redis"),
    "redis reset": partial(_reset_link, which="redis"),
    "many nudges": _many_nudges,
    "forged nudges": _forged_nudges,
    "cancel study": _cancel_study,
    "pause study": _pause_study,
    "change budget": _change_budget,
    "retry trial": partial(_act_on_trial, state="failed", verb="retry"),
    "cancel trial": partial(_act_on_trial, state="running", verb="cancel"),
}
# What costs a program's start is drawn seldom; what loses replies, and zombies, often.
WEIGHTS: Mapping[str, float] = {
    "kill supervisor": 2,
    "kill worker": 0.5,
    "terminate worker": 0.7,
    "stop supervisor": 2,
    "kill api": 1,
    "terminate api": 0.3,
    "crash postgres": 1.5,
    "restart postgres": 0.5,
    "commit unknown": 2.5,
    "commit swallowed": 1.5,
    "cancel study": 0.7,
}


def strike(target: Target, rng: Random) -> tuple[str, str]:
    """Draw faults until one finds something to hit; return its name and what it hit."""
    weights = [WEIGHTS.get(name, 1.0) for name in FAULTS]
    while True:
        name = rng.choices(list(FAULTS), weights)[0]
        hit = FAULTS[name](target, rng)
        if hit is not None:
            return name, hit
