"""The doorbell: Celery carries nudges that say "look at queue gpu" and nothing else.

A nudge holds no data and may be lost, doubled or forged; the database is the queue of record.
"""

import contextlib
import logging
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

LOOK = "tuneup.look"
QUEUES = ("cpu", "gpu")
NUDGE_SECONDS = 30

log = logging.getLogger("tuneup.queue")

SETTINGS: dict[str, Any] = {
    "task_serializer": "json",
    "accept_content": ["json"],
    # The lease redelivers, not the broker: acknowledged before the run, one message at a time, no second ledger.
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    "task_ignore_result": True,
    "result_backend": None,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    # Whoever reaches the broker must not be able to command workers.
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    # Spawned, never forked: a child forked after torch or CUDA was touched hangs.
    "worker_pool": "prefork",
    "worker_pool_start_method": "spawn",
    "worker_proc_alive_timeout": 60,
    "worker_hijack_root_logger": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_connection_timeout": 5,
    "task_create_missing_queues": True,
    "task_default_queue": "cpu",
}
# Celery speaks to Valkey as to Redis, under Redis' name.
_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "redis+socket": "redis+socket",
    "valkey": "redis",
    "valkeys": "rediss",
    "amqp": "amqp",
    "amqps": "amqps",
    "pyamqp": "pyamqp",
    "filesystem": "filesystem",
    "memory": "memory",
}
# Celery's own transport ends the worker on an entry that is no message.
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), "workers.transport:Transport"))
_REDIS_OPTIONS = {"socket_keepalive": True, "socket_timeout": 10, "health_check_interval": 25}


def split_broker(broker_url: str) -> tuple[str, str]:
    """Split a broker's URL into the scheme that Celery knows and the rest. Raise ValueError, naming the valid ones."""
    named, separator, place = broker_url.partition("://")
    if not separator or named not in _SCHEMES:
        # The URL is not repeated: it may hold a password.
        raise ValueError(f"the broker's URL must begin with one of {', '.join(f'{name}://' for name in _SCHEMES)}")
    return _SCHEMES[named], place


def make_app(broker_url: str) -> Celery:
    """Make the Celery application over Redis, Valkey or RabbitMQ, whichever the URL names.

    `filesystem:///some/folder` is a broker made of files, for a machine without any of these; `memory://` stays in
    this process, for tests. Raise ValueError for another scheme.
    """
    scheme, place = split_broker(broker_url)
    files = scheme == "filesystem"
    app = Celery("tuneup", broker="filesystem://" if files else f"{scheme}://{place}")
    app.conf.update(SETTINGS)
    if files:
        app.conf.broker_transport_options = _file_options(Path(place))
    elif scheme.startswith("redis"):
        app.conf.broker_transport_options = dict(_REDIS_OPTIONS)
    return app


def _file_options(folder: Path) -> dict[str, str]:
    """Both ends of the file broker read and write one folder, made here if it is not there."""
    messages, control = folder / "messages", folder / "control"
    for part in (messages, control):
        part.mkdir(parents=True, exist_ok=True)
    return {"data_folder_in": str(messages), "data_folder_out": str(messages), "control_folder": str(control)}


def _waiting(connection: Any, queue: str) -> int:  # noqa: ANN401  kombu is not typed
    """Count the nudges that nobody has taken yet; one is enough."""
    channel = connection.channel()
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return 0  # the queue was never used
    finally:
        # A broker that refused has closed the channel itself.
        with contextlib.suppress(*connection.channel_errors, *connection.connection_errors):
            channel.close()


class Doorbell:
    """Sends nudges from a thread of its own, since a send blocks for seconds while the broker is down.

    Calls while a nudge for a queue is being sent come to one more, and none is sent while one waits to be taken.
    """

    def __init__(self, app: Celery) -> None:
        """Ring through `app`; the thread starts with the first nudge."""
        self._app = app
        self._wanted: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def nudge(self, queues: Iterable[str]) -> None:
        """Ask workers of these queues to look, soon. Never blocks, never raises."""
        with self._changed:
            self._wanted |= set(queues)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, timeout: float = 2.0) -> None:
        """Send what is wanted, if the broker lets us within `timeout` seconds, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._closed)
                if not self._wanted:
                    return
                queue = self._wanted.pop()
            self._send(queue)

    def _send(self, queue: str) -> None:
        try:
            with self._app.connection_for_write() as connection:
                if _waiting(connection, queue) == 0:
                    self._app.send_task(
                        LOOK, queue=queue, expires=NUDGE_SECONDS, retry=False, ignore_result=True, connection=connection
                    )
        except Exception as error:  # noqa: BLE001  a broker may fail in any way; workers look by themselves
            log.warning("no nudge for queue %s: %s; workers look by themselves every few seconds", queue, error)
