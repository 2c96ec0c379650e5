"""The real application in process over a real database, and a worker that needs no trainer."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from sqlalchemy import delete
from starlette.testclient import TestClient

from api.app import create_app
from migrations.upgrade import upgrade
from models.session import Database
from models.states import TrialState
from models.studies import DEFAULT_PROJECT, ensure_project
from models.tables import Table
from search.clock import utc_now
from search.definition.examples import EXAMPLE_STUDIES
from search.trials.dispatch import Dispatcher, Result
from settings import Settings
from tests.support.ledger import Ledger

BROKER = "memory://"  # nudges go into a queue of this process that nobody reads
KEY = "a key of sixteen characters or more"
PROBLEM = "application/problem+json"
TABLES = ("study", "event", "trial", "idempotency_key")

Study = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """A client of the running application, its ledger, and a worker that claims from it."""

    client: TestClient
    ledger: Ledger
    worker: Dispatcher

    def create(self, raw: Study | None = None, headers: Mapping[str, str] | None = None) -> Study:
        """Post a study, by default the grid example; return the reply."""
        reply = self.client.post("/v1/studies", json=raw or EXAMPLE_STUDIES["iris-grid"], headers=headers)
        assert reply.status_code == 201, reply.text
        made: Study = reply.json()
        return made

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of a GET that must succeed."""
        reply = self.client.get(f"/v1{path}", params=query)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def run(self, count: int, value: Callable[[int], float] = lambda number: 1.0 / (1 + number)) -> None:
        """Claim `count` trials and complete each with val_accuracy `value(number)`."""
        claims = self.worker.claim(queue="cpu", capacity=count)
        assert len(claims) == count
        self.worker.finish([Result(c, TrialState.COMPLETED, values={"val_accuracy": value(c.number)}) for c in claims])

    def pages(self, path: str, **query: Any) -> Iterator[list[Study]]:
        """Walk a list to its end, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, **query, **({"cursor": cursor} if cursor else {}))
            yield page["data"]
            cursor = page["next"]
            if cursor is None:
                return

    def rows(self) -> dict[str, int]:
        """Count what is stored."""
        return {table: len(self.ledger.rows(table)) for table in TABLES}

    def clear(self) -> None:
        """Remove all that is stored but the projects."""
        tables = [table for table in reversed(Table.metadata.sorted_tables) if table.name != "project"]
        self.ledger.database.write(lambda connection: [connection.execute(delete(table)) for table in tables])


@contextmanager
def opened(url: str, *, key: str | None = None) -> Iterator[Stage]:
    """Bring an empty database to its newest revision and open the application over it."""
    upgrade(url)
    database = Database(url)
    project = database.write(lambda connection: ensure_project(connection, DEFAULT_PROJECT, utc_now()))
    app = create_app(settings(url, key=key))
    try:
        with TestClient(app, raise_server_exceptions=False) as client:
            yield Stage(client, Ledger(database, project), Dispatcher(database, worker="test"))
    finally:
        database.dispose()


def settings(url: str, *, key: str | None = None) -> Settings:
    """Return the settings of a service over this database, whatever the environment says."""
    return Settings(database_url=url, broker_url=BROKER, api_key=SecretStr(key) if key is not None else None)


def faults(reply: Any) -> dict[str, str]:
    """Return the faults of a refused request: path -> all that is said about it."""
    assert reply.status_code == 422, reply.text
    found: dict[str, str] = {}
    for fault in problem(reply)["errors"]:
        found[fault["path"]] = "; ".join(filter(None, (found.get(fault["path"]), fault["message"])))
    return found


def problem(reply: Any) -> dict[str, Any]:
    """Return the problem that a reply is, its shape checked."""
    assert reply.headers["content-type"] == PROBLEM
    body: dict[str, Any] = reply.json()
    assert body.keys() == {"type", "title", "status", "detail", "errors"}
    assert body["status"] == reply.status_code
    assert body["title"]
    assert isinstance(body["detail"], str)
    assert all(fault.keys() == {"path", "message"} and fault["message"] for fault in body["errors"])
    return body


def study(example: str = "digits-mlp", **changes: object) -> Study:
    """Return an example with values set at paths, `__` for the dot; None takes a field out."""
    raw: Study = copy.deepcopy(dict(EXAMPLE_STUDIES[example]))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place: Any = raw
        for name in parents:
            place = place.setdefault(name, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return raw


def without(raw: Mapping[str, Any], *names: str) -> Study:
    """Return a copy without these fields."""
    return {name: value for name, value in raw.items() if name not in names}


# The OpenAPI document, from which tests over every route are made.
DOCUMENT = create_app(settings("sqlite://")).openapi()
