"""The doorbell: it never blocks, says little, and what it sends is plain JSON."""

import base64
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event
from typing import Any, cast

import pytest
import redis
from celery import Celery
from kombu import Connection

from migrations.upgrade import upgrade
from tests.support.redis_server import Broker
from tests.support.shared import free_port
from workers.fleet import ROOT, worker_member
from workers.queue import LOOK, NUDGE_SECONDS, SETTINGS, Doorbell, make_app


class SlowApp:
    """Stands for a broker that answers only when told to.

    Memory is one broker for the whole process: only a queue with a name of its own is sure to be empty.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.sending = Event()
        self.answer = Event()
        self.connection_for_write = make_app("memory://").connection_for_write

    def send_task(self, name: str, *, queue: str, **_: Any) -> None:
        assert name == LOOK
        self.sent.append(queue)
        self.sending.set()
        self.answer.wait(30)


def test_a_nudge_is_one_json_message_that_expires(redis_url: str) -> None:
    doorbell = Doorbell(make_app(redis_url))
    doorbell.nudge(["gpu"])
    doorbell.close(timeout=20)
    with redis.Redis.from_url(redis_url) as client:
        (raw,) = cast("list[bytes]", client.lrange("gpu", 0, -1))
        assert client.llen("cpu") == 0
    message = json.loads(raw)
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == LOOK
    arguments, options, _ = json.loads(base64.b64decode(message["body"]))
    assert (arguments, options) == ([], {})
    left = datetime.fromisoformat(message["headers"]["expires"]) - datetime.now(UTC)
    assert 0 < left.total_seconds() <= NUDGE_SECONDS


def _rabbitmq_or_memory() -> str:
    """Return the URL of RabbitMQ on this machine. It is optional: where there is none, a broker in this process."""
    url = "amqp://guest:guest@127.0.0.1:5672//"
    try:
        with Connection(url, connect_timeout=2) as connection:
            connection.connect()
    except OSError:
        return "memory://"
    return url


def test_rabbitmq_carries_nudges_too() -> None:
    """With RabbitMQ on this machine through it, else through memory, which speaks the same protocol."""
    app, queue = make_app(_rabbitmq_or_memory()), f"nudges-{uuid.uuid4().hex}"
    with app.connection_for_write() as connection:
        connection.connect()
        channel: Any = connection.channel()
        try:
            for _ in range(2):  # the second finds the first one waiting
                doorbell = Doorbell(app)
                doorbell.nudge([queue])
                doorbell.close(timeout=20)
            assert channel.queue_declare(queue, passive=True).message_count == 1
            message = channel.basic_get(queue, no_ack=True)
            assert message.headers["task"] == LOOK
            assert json.loads(message.body)[:2] == [[], {}]
        finally:
            channel.queue_delete(queue)


@pytest.mark.parametrize(
    ("url", "celery"),
    [
        ("valkey://:key@host:6379/1", "redis://:key@host:6379/1"),
        ("valkeys://host:6379/0", "rediss://host:6379/0"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("rediss://host:6379/0", "rediss://host:6379/0"),
        ("redis+socket:///run/valkey.sock", "redis+socket:///run/valkey.sock"),
        ("amqp://guest:guest@host:5672//", "amqp://guest:guest@host:5672//"),
        ("amqps://host//", "amqps://host//"),
        ("pyamqp://host//", "pyamqp://host//"),
        ("memory://", "memory://"),
    ],
)
def test_a_broker_goes_by_the_name_that_celery_knows(url: str, celery: str) -> None:
    conf = make_app(url).conf
    assert conf.broker_url == celery
    assert ("socket_keepalive" in conf.broker_transport_options) == celery.startswith("redis")


@pytest.mark.parametrize("url", ["", "kafka://:secret@host", "host:6379", "Redis://host", "sqs://"])
def test_an_unknown_broker_is_refused(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"one of redis://, .*valkeys://, amqp://, .*filesystem://, memory://$"
    ) as error:
        make_app(url)
    assert "secret" not in str(error.value)


def test_none_is_sent_while_one_waits_to_be_taken(redis_url: str) -> None:
    def ring() -> None:
        doorbell = Doorbell(make_app(redis_url))
        doorbell.nudge(["cpu"])
        doorbell.close(timeout=20)

    with redis.Redis.from_url(redis_url) as client:
        for _ in range(3):
            ring()
            assert client.llen("cpu") == 1
        client.delete("cpu")
        ring()
        assert client.llen("cpu") == 1


def test_only_json_is_read_and_nobody_is_commanded() -> None:
    conf = make_app("redis://127.0.0.1:1/0").conf
    assert list(conf.accept_content) == [conf.task_serializer] == ["json"]
    assert conf.result_backend is None
    assert not conf.worker_enable_remote_control
    assert not conf.task_acks_late
    assert {name: conf[name] for name in SETTINGS} == SETTINGS


def test_nudges_while_one_is_being_sent_come_to_one_more() -> None:
    app, queue = SlowApp(), uuid.uuid4().hex
    doorbell = Doorbell(cast("Celery", app))
    doorbell.nudge([queue])
    assert app.sending.wait(20)
    for _ in range(1000):
        doorbell.nudge([queue])
    app.answer.set()
    doorbell.close(timeout=20)
    assert app.sent == [queue, queue]


def test_nothing_wanted_starts_nothing_that_stays() -> None:
    app = SlowApp()
    doorbell = Doorbell(cast("Celery", app))
    doorbell.nudge([])
    doorbell.close()
    assert app.sent == []


@pytest.mark.parametrize("silent", [False, True])
def test_a_broker_that_is_down_or_silent_blocks_nobody(silent: bool) -> None:
    """A single send would wait far longer for the silent one, which takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as broker:
        port = broker.getsockname()[1] if silent else free_port()
        doorbell = Doorbell(make_app(f"redis://127.0.0.1:{port}/0"))
        began = time.monotonic()
        for _ in range(200):
            doorbell.nudge(["cpu", "gpu"])
        doorbell.close(timeout=0.1)
        assert time.monotonic() - began < 8
        doorbell.nudge(["cpu"])  # after the end: nothing happens


def test_a_failed_send_is_not_the_last() -> None:
    class Failing(SlowApp):
        def send_task(self, name: str, *, queue: str, **more: Any) -> None:
            super().send_task(name, queue=queue, **more)
            raise OSError("no broker")

    app = Failing()
    app.answer.set()
    doorbell = Doorbell(cast("Celery", app))
    queues = [uuid.uuid4().hex, uuid.uuid4().hex]
    for queue in queues:
        app.sending.clear()
        doorbell.nudge([queue])
        assert app.sending.wait(20)
    doorbell.close(timeout=20)
    assert app.sent == queues


GARBAGE = [
    b"{{{",
    b"\xff\xfe",
    b"5",
    b"null",
    b"[]",
    b"{}",
    b'{"body": 1, "properties": {}}',
    b'{"body": "AAAA", "properties": {"delivery_tag": "a"}, "headers": {}}',
    b'{"body": "!", "properties": {"delivery_tag": "a", "body_encoding": "base64", "delivery_info": {}}, "headers": 3}',
]


def test_garbage_in_the_queue_ends_no_worker(broker: Broker, sqlite_url: str) -> None:
    """Neither what is no JSON nor what is no message, before or after a nudge that is served."""
    upgrade(sqlite_url)
    environment = {**os.environ, "TUNEUP_DATABASE_URL": sqlite_url, "TUNEUP_BROKER_URL": broker.url}
    member = worker_member("garbage", queue="cpu", environment={})
    with redis.Redis.from_url(broker.url) as queue:
        worker = subprocess.Popen(member.command, cwd=ROOT, env={**environment, **member.environment})
        try:
            for entry in [*GARBAGE, *GARBAGE]:
                queue.lpush("cpu", entry)
            doorbell = Doorbell(make_app(broker.url))
            _until(lambda: queue.llen("cpu") == 0)
            doorbell.nudge(["cpu"])
            doorbell.close(timeout=20)
            _until(lambda: queue.llen("cpu") == 0)
            assert worker.poll() is None
        finally:
            worker.terminate()
            assert worker.wait(30) == 0


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
