"""How long the API takes to start and to answer, on PostgreSQL: `python -m benchmarks.http --json`.

One client, one request at a time, over a real uvicorn on loopback. Start is from the launch of the process to the first
200 of /readyz.
"""

import argparse
import copy
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx2

from benchmarks.promises import Promise, line, show, table
from benchmarks.servers import describe, postgres_server
from migrations.upgrade import upgrade
from search.definition.examples import EXAMPLE_STUDIES
from tests.support.postgres import fresh_database
from tests.support.shared import free_port
from tests.support.sources import ROOT

STARTS = 5
REQUESTS = {"quick": 100, "standard": 300, "full": 2000}
WARM_UP = 20


@contextmanager
def api(database_url: str) -> Iterator[tuple[str, float]]:
    """Run `python -m api` over a database; yield its address and the seconds it took to be ready."""
    port = free_port()
    environment = {**os.environ, "TUNEUP_DATABASE_URL": database_url, "TUNEUP_BROKER_URL": "memory://"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "api", "--port", str(port)], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        while not ready(url):
            if process.poll() is not None:
                raise RuntimeError(f"the API ended with status {process.returncode}")
            time.sleep(0.005)
        yield url, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def ready(url: str) -> bool:
    """Say whether a POST would be accepted."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as reply:  # noqa: S310  our own server
            return bool(reply.status == 200)
    except OSError:
        return False


def milliseconds(act: Callable[[], httpx2.Response], count: int) -> list[float]:
    """Time `count` requests after a warm-up, each of which must succeed."""
    taken = []
    for place in range(WARM_UP + count):
        began = time.perf_counter()
        act().raise_for_status()
        if place >= WARM_UP:
            taken.append(1000 * (time.perf_counter() - began))
    return sorted(taken)


def answers(url: str, count: int) -> dict[str, list[float]]:
    """Time the requests that dashboards and pipelines make most."""
    study = copy.deepcopy(dict(EXAMPLE_STUDIES["digits-mlp"]))
    with httpx2.Client(base_url=f"{url}/v1") as client:
        keys = iter(range(10**9))
        made = client.post("/studies", json=study).json()["id"]
        tag = client.get(f"/studies/{made}").headers["etag"]
        return {
            "POST /v1/studies": milliseconds(lambda: client.post("/studies", json=study), count),
            "POST /v1/studies, Idempotency-Key": milliseconds(
                lambda: client.post("/studies", json=study, headers={"Idempotency-Key": f"key-{next(keys)}"}), count
            ),
            "GET /v1/studies/{id}": milliseconds(lambda: client.get(f"/studies/{made}"), count),
            "GET /v1/studies/{id}, unchanged": milliseconds(
                lambda: _not_modified(client.get(f"/studies/{made}", headers={"If-None-Match": tag})), count
            ),
        }


def _not_modified(reply: httpx2.Response) -> httpx2.Response:
    """Turn the 304 that is wanted into a success, and anything else into an error."""
    if reply.status_code != 304:
        raise RuntimeError(f"expected 304, got {reply.status_code}")
    return httpx2.Response(200, request=reply.request)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", action="store_true", help="end with a line for programs")
    given = parser.parse_args(arguments)
    count = REQUESTS["quick" if given.quick else "full" if given.full else "standard"]
    with postgres_server() as server, fresh_database(server) as database_url:
        print(describe(server))
        upgrade(database_url)
        starts = []
        for _ in range(STARTS):
            with api(database_url) as (_, seconds):
                starts.append(seconds)
        with api(database_url) as (url, _):
            taken = answers(url, count)
    rows = [(name, statistics.median(times), times[int(0.99 * len(times))], times[-1]) for name, times in taken.items()]
    print(table(("request", "p50 ms", "p99 ms", "worst ms"), rows))
    promises = [
        Promise("API start, seconds, median", statistics.median(starts), 2.0, at_most=True),
        Promise("POST /v1/studies, p50 ms", rows[0][1], 20.0, at_most=True),
    ]
    print(show(promises))
    if given.json:
        print(line("http", promises))
    return 0


if __name__ == "__main__":
    sys.exit(main())
