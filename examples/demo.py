"""The main job from a fresh clone (`make demo`): serve embedded, tune examples/digits.yaml, show what it gained.

Everything runs on this machine and ends with this script: SQLite, a Valkey server on a unix socket, the API, and one
worker for each core. The default configuration is trained beside the tuned one, through the same service.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from optim import catalog
from tuneup import Client
from tuneup.shapes import BestData

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "examples" / "digits.yaml"
DATA = ROOT / ".tuneup" / "demo"
TUNEUP = ROOT / ".venv" / "bin" / "tuneup"
READY_SECONDS = 60.0
# What a tuned network of this size reaches on these data; less means that something is broken.
GOOD = 0.97


def main() -> int:
    """Run the demonstration; return 0 when it found a configuration that is good."""
    started = time.monotonic()
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    with served() as url:
        default = train_default(Client(url))
        picture, output = DATA / "history.svg", DATA / "tuned.json"
        command = [TUNEUP, "run", STUDY, "--url", url, "--picture", picture, "--output", output]
        code = subprocess.run([str(part) for part in command], check=False).returncode
        if code != 0:
            return code
        best = next(Client(url).studies()).best()
    show(default, best)
    print(f"history: {picture}\nbest configuration: {output}\nseconds: {time.monotonic() - started:.0f}")
    return 0 if best["values"]["val_accuracy"] >= GOOD else 1


@contextmanager
def served() -> Iterator[str]:
    """Run `tuneup serve` on a free port for the while; its log goes to the data folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (DATA / "serve.log").open("w") as log:
        server = subprocess.Popen(
            [str(TUNEUP), "serve", "--port", str(port), "--data", str(DATA), "--workers", str(os.cpu_count() or 1)],
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_ready(url, server)
        yield url
    finally:
        server.terminate()
        server.wait()


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait for the API. Raise RuntimeError, naming the log, if the server ends or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the service did not start; see {DATA / 'serve.log'}")
        time.sleep(0.1)


def is_ready(url: str) -> bool:
    """Say whether a POST would be accepted."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def train_default(client: Client) -> BestData:
    """Train the configuration that comes from leaving everything at its default."""
    return client.create_study(default_study()).wait().best()


def default_study() -> dict[str, Any]:
    """Return a grid of one point, on the data and network of the study that is tuned."""
    definition = yaml.safe_load(STUDY.read_text())
    return {
        "name": "digits, everything at its default",
        "objective": {name: definition["objective"][name] for name in ("recipe", "data", "network", "epochs")},
        "metrics": definition["metrics"],
        "space": {name: {"type": "categorical", "choices": [value]} for name, value in default_params().items()},
        "search": {"strategy": "grid", "seed": 1},
    }


def default_params() -> dict[str, Any]:
    """Return what the catalog says where a study says nothing."""
    optimizer = catalog.optimizer_info(catalog.DEFAULT_OPTIMIZER)
    rate = next(option.default for option in optimizer.options if option.name == "lr")
    # Those that the tuned study searches; the other defaults need no saying.
    common = {name: catalog.COMMON[name].default for name in ("warmup", "batch_size")}
    return {"optimizer": optimizer.name, "lr": rate, **common}


def show(default: BestData, best: BestData) -> None:
    """Print both configurations side by side."""
    table = Table(title="digits, two layers of 64: the default beside the best found")
    for heading in ("", "default", "best"):
        table.add_column(heading, justify="left" if not heading else "right")
    for before, after in ((default["params"], best["params"]), (default["values"], best["values"])):
        for name in dict.fromkeys([*after, *before]):
            table.add_row(name, cell(before.get(name)), cell(after.get(name)))
    Console().print(table)


def cell(value: object) -> str:
    """Write a value for the table."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
