"""The real application on a port of its own, over SQLite, and a worker's access to its ledger."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvicorn
from playwright.sync_api import expect
from pydantic import SecretStr

from api.app import create_app
from migrations.upgrade import upgrade
from models.ids import show_study
from models.session import Database
from models.states import TrialState
from models.studies import DEFAULT_PROJECT, ensure_project
from search.clock import utc_now
from search.studies.service import create_study
from search.trials.dispatch import Claim, Dispatcher, Result
from settings import Settings

# Milliseconds that a page may take on a busy machine; as a rule it takes a tenth of a second.
expect.set_options(timeout=60_000)

STUDY: dict[str, Any] = {
    "name": "wine",
    "objective": {"recipe": "classifier", "data": "wine", "network": {"kind": "mlp", "hidden": [8]}, "epochs": 2},
    "metrics": [{"name": "val_loss", "goal": "minimize"}],
    "space": {"lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"}},
    "search": {"strategy": "random", "seed": 1},
    "budget": {"trials": 3},
}


@dataclass(frozen=True)
class Site:
    """A running service: its address, its ledger, and a worker that claims from it."""

    url: str
    database: Database
    worker: Dispatcher

    def add(self, **changes: Any) -> str:
        """Create a study like `STUDY` but for `changes`; return its id."""
        definition = {**STUDY, **changes}
        project = self.database.write(lambda c: ensure_project(c, DEFAULT_PROJECT, utc_now()))
        made = self.database.write(lambda c: create_study(c, project, definition, now=utc_now()))
        return show_study(made.view.record.id)

    def claim(self) -> Claim:
        """Take the next trial."""
        return self.worker.claim(queue="cpu", capacity=1)[0]

    def end(self, value: float | None, *, state: TrialState = TrialState.COMPLETED, reason: str | None = None) -> Claim:
        """Run the next trial to `val_loss` = `value`."""
        claim = self.claim()
        self.finish(claim, {"val_loss": value} if value is not None else None, state=state, reason=reason)
        return claim

    def finish(
        self,
        claim: Claim,
        values: dict[str, float] | None,
        *,
        state: TrialState = TrialState.COMPLETED,
        reason: str | None = None,
    ) -> None:
        """End a claimed trial."""
        assert self.worker.finish([Result(claim, state, values=values, reason=reason)]) == {claim.token: "accepted"}


Serve: TypeAlias = Callable[..., Site]


@contextmanager
def serving(file: Path, key: str | None) -> Iterator[Site]:
    """Serve a ledger on loopback until the end of the block. No broker is there, and none is needed."""
    url = f"sqlite:///{file}"
    database = Database(url)
    secret = SecretStr(key) if key is not None else None
    app = create_app(Settings(database_url=url, broker_url="redis://127.0.0.1:9/0", api_key=secret))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started, "the service did not start"
    yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", database, Dispatcher(database, worker="test"))
    server.should_exit = True
    thread.join(10)
    database.dispose()


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database file at the newest revision, to be copied."""
    file = tmp_path_factory.mktemp("ledger") / "empty.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def serve(tmp_path: Path, empty_ledger: Path) -> Iterator[Serve]:
    """Yield a function that starts a service, with a key if given one."""
    file = Path(shutil.copy(empty_ledger, tmp_path / "tuneup.db"))
    with ExitStack() as stack:
        yield lambda key=None: stack.enter_context(serving(file, key))


@pytest.fixture
def site(serve: Serve) -> Site:
    """Return a running service without a key."""
    return serve()
