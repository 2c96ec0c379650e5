"""`tuneup serve`: the whole system on one machine.

API and reaper run in this process; a Valkey server and Celery workers are its children, started again when they end;
the database is SQLite in the data folder. It is the same code as in any other deployment.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from migrations.upgrade import upgrade
from settings import Settings, load, places, threads
from workers.broker import broker
from workers.fleet import Fleet, worker_member
from workers.objectives import read_objectives

log = logging.getLogger("tuneup.serve")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(prog="tuneup serve", description="Run the whole service on this machine.")
    made.add_argument("--port", type=int, default=8000)
    made.add_argument("--data", type=Path, default=Path(".tuneup"), help="folder of the database (.tuneup)")
    made.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1)), help="how many workers")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; then everything ends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    given = parser().parse_args(arguments)
    if given.workers < 0:
        sys.stderr.write("tuneup serve: --workers must not be negative\n")
        return 2
    # uvicorn raises the signal again once it has shut down; then the children are still to be ended, in order.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    given.data.mkdir(parents=True, exist_ok=True)
    database_url = f"sqlite:///{given.data.resolve() / 'tuneup.db'}"
    folder = Path(tempfile.mkdtemp(prefix="tuneup-"))
    try:
        broker_url, servers = broker(folder)
        # Whoever starts below reads its settings from here: this process too, when uvicorn loads the API.
        os.environ.update(TUNEUP_DATABASE_URL=database_url, TUNEUP_BROKER_URL=broker_url)
        settings = _settings(given.data)
        upgrade(database_url)
        hidden = {"CUDA_VISIBLE_DEVICES": "", "TUNEUP_DEVICE": "cpu", **threads(settings, workers=given.workers)}
        log.info("tuneup on http://127.0.0.1:%d, data in %s, workers: %d", given.port, given.data, given.workers)
        workers = [worker_member(f"cpu{number}", queue="cpu", environment=hidden) for number in range(given.workers)]
        return _serve(Fleet([*servers, *workers], grace_seconds=settings.grace_seconds), given.port)
    except BadSettings as error:
        sys.stderr.write(f"tuneup serve: {error}\n")
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class BadSettings(Exception):
    """What the environment or the objectives' file says cannot be used."""


def _settings(data: Path) -> Settings:
    """Read the settings, and hand on where things lie, since the workers start in another folder."""
    try:
        settings = load()
        defaults = {"checkpoints": data.resolve() / "checkpoints", "data": data.resolve() / "datasets"}
        settings = settings.model_copy(
            update={name: path for name, path in defaults.items() if name not in settings.model_fields_set}
        )
        registry = read_objectives(settings.objectives)
    except ValueError as error:
        raise BadSettings(str(error)) from error
    log.info("registered here: %s (%s)", ", ".join(registry) or "none", settings.objectives or "no tuneup.toml here")
    os.environ.update(places(settings))
    return settings


def _serve(fleet: Fleet, port: int) -> int:
    """Run the API here and the fleet in a thread, until a signal. Exit with 1 when the fleet can no longer be kept."""
    stopped, broken = threading.Event(), threading.Event()

    def keep() -> None:
        # The children are started here and die with this thread, so it lives until everything ends.
        try:
            fleet.start()
            while not stopped.wait(0.5):
                fleet.mend()
        except Exception:
            # An API without workers would look alive and do nothing.
            log.exception("the workers can no longer be kept running; ending")
            broken.set()
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            fleet.stop()

    keeper = threading.Thread(target=keep, name="fleet")
    try:
        keeper.start()
        # By name, because the API and the workers never import each other.
        uvicorn.run(
            "api.app:create_app", factory=True, host="127.0.0.1", port=port, log_level="warning", access_log=False
        )
    finally:
        stopped.set()
        keeper.join()
        if broken.is_set():
            sys.exit(1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
