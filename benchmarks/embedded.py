"""`tuneup serve` as a user starts it, in a temporary folder, and studies posted to it over HTTP."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.http import ready
from tests.support.shared import free_port
from tests.support.sources import ROOT

START_SECONDS = 120.0
STOP_SECONDS = 60.0
STUDY_SECONDS = 900.0
LOOK_SECONDS = 0.5
FINAL = frozenset({"completed", "cancelled", "failed"})


@contextmanager
def served(*, workers: int, device: str = "cpu", population: int | None = None) -> Iterator[httpx2.Client]:
    """Run the service with so many workers; yield a client of its /v1.

    On the device "gpu" the workers are one for each CUDA device instead. `population` is the most trials that one
    trainer may take at once, None for what it finds best. Raise RuntimeError with the log where it does not start.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="tuneup-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        own = {} if population is None else {"TUNEUP_POPULATION": str(population)}
        here = workers if device == "cpu" else 0
        words = ("workers.embedded", "--port", str(port), "--data", str(folder), "--workers", str(here))
        service = stack.enter_context(_program(*words, folder=folder, settings=own))
        _wait(lambda: ready(url), service, folder)
        client = stack.enter_context(httpx2.Client(base_url=f"{url}/v1", timeout=60))
        if device != "cpu":
            # The service's broker is its own: these look for work by themselves.
            database = {"TUNEUP_DATABASE_URL": f"sqlite:///{folder / 'tuneup.db'}", "TUNEUP_POLL_SECONDS": "1"}
            nobody = {"TUNEUP_BROKER_URL": "redis://127.0.0.1:1/0"}
            gpu = _program("workers", "--queue", "gpu", folder=folder, settings={**own, **database, **nobody})
            service = stack.enter_context(gpu)
        wanted = workers if device == "cpu" else 1
        _wait(lambda: len(client.get("/workers").json()["data"]) >= wanted, service, folder)
        yield client


def run_study(client: httpx2.Client, study: Mapping[str, Any], *, seconds: float = STUDY_SECONDS) -> dict[str, Any]:
    """Post a study; return it as it ended. Raise RuntimeError where it has not completed within `seconds`."""
    study_id = post(client, study)
    deadline = time.monotonic() + seconds
    while (seen := _get(client, f"/studies/{study_id}"))["state"] not in FINAL:
        if time.monotonic() > deadline:
            raise RuntimeError(f"study {study['name']} has not ended within {seconds:.0f} s: {seen['progress']}")
        time.sleep(LOOK_SECONDS)
    if seen["state"] != "completed":
        raise RuntimeError(f"study {study['name']} is {seen['state']}: {seen['reason']}")
    return seen


def post(client: httpx2.Client, study: Mapping[str, Any]) -> str:
    """Post a study; return its id."""
    reply = client.post("/studies", json=dict(study))
    if reply.status_code != 201:
        raise RuntimeError(f"study {study['name']} was refused: {reply.text}")
    made: str = reply.json()["id"]
    return made


def duration(study: Mapping[str, Any]) -> float:
    """Return the seconds from a study's first claim to its last finish."""
    began, ended = (datetime.fromisoformat(study[name]) for name in ("started_at", "finished_at"))
    return (ended - began).total_seconds()


def _get(client: httpx2.Client, path: str) -> dict[str, Any]:
    reply = client.get(path)
    reply.raise_for_status()
    answer: dict[str, Any] = reply.json()
    return answer


@contextmanager
def _program(*words: str, folder: Path, settings: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "client")])
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path, **settings},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def _wait(condition: Callable[[], bool], process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the service did not start:\n{(folder / 'log').read_text()[-4000:]}")
        time.sleep(0.1)
