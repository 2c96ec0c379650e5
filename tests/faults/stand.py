"""A small stand for the faults: a ledger with an oracle beside it, workers that log what they train, and an API."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from alembic import command
from starlette.testclient import TestClient

from api.app import create_app
from migrations.upgrade import config
from models.candidates import queues_with_work
from models.ids import show_study
from models.session import Database
from models.studies import DEFAULT_PROJECT, ensure_project
from models.tables import Table
from search.clock import utc_now
from search.trials.dispatch import Claim, Dispatcher
from tests.api.stage import settings
from tests.faults.checker import violations
from tests.faults.oracle import Oracle
from tests.faults.planting import planted, spoil
from tests.support.ledger import Ledger, done, report
from tests.support.shared import free_port, wait_until
from tests.support.sources import ROOT
from workers.reaper import Reaper
from workers.tether import tethered

SITE = Path(__file__).parent / "site"
LEASE = 60.0
PERIOD = 7.0

# Of method, path, body and headers, the reply's status and content. Raises OSError where there is none.
Send = Callable[[str, str, Any, Mapping[str, str]], tuple[int, Any]]


@dataclass(slots=True)
class Stand:
    """One empty ledger, its oracle, and which bug is planted."""

    url: str
    folder: Path
    bug: str | None
    ledger: Ledger
    oracle: Oracle

    def verdict(self, *, settled: bool = False) -> list[str]:
        """Ask the checker."""
        return violations(self.url, self.oracle.path, settled=settled)

    def hand(self, name: str) -> "Hand":
        """Return a worker."""
        return Hand(self.oracle, self.ledger.worker(name))

    def watch(self, *, ahead: float = 0.0) -> "Watch":
        """Return a reaper whose wall clock is `ahead` of everybody else's by so many seconds."""
        return Watch(self.ledger, timedelta(seconds=ahead))

    @contextmanager
    def api(self) -> Iterator["Caller"]:
        """Run the API in this process; its doorbell says of each nudge whether the work was there to be seen."""
        app = create_app(settings(self.url))
        with TestClient(app, raise_server_exceptions=False) as client:
            other = Database(self.url)
            app.state.services = replace(app.state.services, doorbell=Doorbell(other, self.oracle))
            yield Caller(self.oracle, partial(_ask_app, client))
            other.dispose()

    @contextmanager
    def server(self, **environment: str) -> Iterator["Server"]:
        """Run the API as a process of its own, with the bug, and what else `environment` asks for, planted in it."""
        command.stamp(config(self.url), "head")
        port = free_port()
        more = {"TUNEUP_FAULTS_BUG": self.bug} if self.bug is not None else {}
        process = subprocess.Popen(
            tethered(sys.executable, "-m", "api", "--port", str(port)),
            cwd=ROOT,
            env=child_environment(TUNEUP_DATABASE_URL=self.url, TUNEUP_BROKER_URL="memory://", **more, **environment),
            stdin=subprocess.DEVNULL,
        )
        send = partial(_ask_server, f"http://127.0.0.1:{port}")
        try:
            wait_until(lambda: _is_ready(send), what="the API", process=process)
            yield Server(Caller(self.oracle, send), process)
        finally:
            process.kill()
            process.wait()


@dataclass(slots=True)
class Hand:
    """A worker whose training is a line in the oracle."""

    oracle: Oracle
    worker: Dispatcher
    claims: list[Claim] = field(default_factory=list)

    @property
    def last(self) -> Claim:
        """The trial it took last."""
        return self.claims[-1]

    def look(self) -> list[Claim]:
        """Take a trial if there is one."""
        taken = self.worker.claim(queue="cpu", capacity=1)
        for claim in taken:
            self.note(claim, "start")
        self.claims += taken
        return taken

    def claim(self) -> Claim:
        """Take the one trial that is there."""
        (claim,) = self.look()
        return claim

    def step(self, claim: Claim, step: int, value: float) -> bool:
        """Train a step and report it; return whether it was accepted."""
        self.note(claim, "step", step=step, value=value)
        (verdict,) = self.worker.report([report(claim, step, value)])
        return verdict.accepted

    def finish(self, claim: Claim, value: float) -> str:
        """End the training with this value; return what the ledger says to it."""
        self.note(claim, "end")
        return self.worker.finish([done(claim, value)])[claim.token]

    def run(self, claim: Claim, value: float) -> str:
        """Train one step, to the end."""
        self.step(claim, 1, value)
        return self.finish(claim, value)

    def note(self, claim: Claim, event: str, **more: Any) -> None:
        """Write in the oracle what this worker does."""
        place = {"study": show_study(claim.study_id), "trial": claim.id, "attempt": claim.attempt}
        self.oracle.write("train", event=event, pid=os.getpid(), **place, **more)


@dataclass(slots=True)
class Watch:
    """A reaper on clocks that the test moves."""

    ledger: Ledger
    ahead: timedelta
    now: float = 1000.0
    reaper: Reaper = field(init=False)

    def __post_init__(self) -> None:
        self.reaper = Reaper(
            self.ledger.database,
            lease_seconds=LEASE,
            period_seconds=PERIOD,
            clock=lambda: self.ledger.clock() + self.ahead,
            monotonic=lambda: self.now,
        )

    def sweep(self, seconds: float = 0.0) -> int:
        """Sweep now and every period until `seconds` have passed; return how many trials were taken back."""
        lost, end = self.reaper.sweep(), self.now + seconds
        while self.now < end:
            self.now = min(self.now + PERIOD, end)
            lost += self.reaper.sweep()
        return lost


@dataclass(slots=True)
class Doorbell:
    """Looks where a worker would look, at the moment of the nudge, over a connection of its own."""

    database: Database
    oracle: Oracle

    def nudge(self, queues: Sequence[str]) -> None:
        """Note whether a worker of each queue would find work."""
        for queue in queues:
            found = self.database.read(lambda connection: queues_with_work(connection, utc_now()))
            self.oracle.write("nudge", event="sent", queue=queue, visible=queue in found)

    def close(self) -> None:
        """Have nothing to close."""


@dataclass(slots=True)
class Caller:
    """A client that logs each request and each reply."""

    oracle: Oracle
    send: Send

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """POST; return the reply's content, None where no reply came."""
        return self.call("POST", path, body, key=key)

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """Return the reply's content; None where no reply came, or it is empty."""
        said = {"id": uuid.uuid4().hex, "method": method, "path": f"/v1{path}", "key": key}
        self.oracle.write("http", event="request", body=body, **said)
        try:
            status, reply = self.send(method, f"/v1{path}", body, {"Idempotency-Key": key} if key else {})
        except OSError:
            return None
        self.oracle.write("http", event="reply", status=status, reply=reply, **said)
        return reply


@dataclass(slots=True)
class Server:
    """An API process, and a client of it."""

    caller: Caller
    process: subprocess.Popen[bytes]


@contextmanager
def stand(url: str, folder: Path, bug: str | None) -> Iterator[Stand]:
    """Make the tables in an empty database, spoil them as the bug does, put an oracle beside them; leave nothing there."""
    database = Database(url)
    oracle = Oracle(folder / "oracle.jsonl")
    try:
        Table.metadata.create_all(database.engine)
        spoil(url, bug)
        project = database.write(lambda connection: ensure_project(connection, DEFAULT_PROJECT, utc_now()))
        with planted(bug):
            yield Stand(url, folder, bug, Ledger(database, project), oracle)
    finally:
        oracle.close()
        Table.metadata.drop_all(database.engine)
        database.dispose()


def child_environment(**more: str) -> dict[str, str]:
    """Return the environment of a program in which something is planted."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNEUP_")}
    return {**kept, "PYTHONPATH": f"{SITE}{os.pathsep}{ROOT}", **more}


def _ask_app(client: TestClient, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Any]:
    reply = client.request(method, path, json=body, headers=dict(headers))
    return reply.status_code, reply.json() if reply.content else None


def _ask_server(url: str, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, Any]:
    data = json.dumps(body).encode() if body is not None else None
    request = Request(url + path, data, {"Content-Type": "application/json", **headers}, method=method)  # noqa: S310
    try:
        with urlopen(request, timeout=20) as reply:  # noqa: S310  our own server
            return reply.status, json.load(reply)
    except HTTPError as error:
        return error.code, json.load(error)


def _is_ready(send: Send) -> bool:
    try:
        return send("GET", "/healthz", None, {})[0] == 200
    except OSError:
        return False
