"""`python -m workers --queue cpu --workers 2`, or `--queue gpu --gpus all`: one Celery worker per process or device."""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from migrations.upgrade import database_fault
from settings import load, places, threads
from workers.devices import list_gpus
from workers.fleet import Fleet, Member, worker_member
from workers.objectives import read_objectives
from workers.queue import QUEUES, split_broker

LOOK_SECONDS = 0.5


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argparse.ArgumentParser(prog="tuneup worker", description="Train the trials of a queue.")
    made.add_argument("--queue", choices=QUEUES, default="cpu", help="which trials to take")
    made.add_argument("--workers", type=int, help="how many, on the cpu queue (1)")
    made.add_argument("--gpus", help="on the gpu queue: all, or device numbers such as 0,1 (all)")
    return made


def members(queue: str, workers: int | None, gpus: str | None) -> list[Member]:
    """List the Celery workers to run. Raise ValueError for an option of the other queue, and where there is no GPU."""
    if queue == "gpu":
        if workers is not None:
            raise ValueError(
                "--workers is for --queue cpu: on the gpu queue each device has one; choose them with --gpus"
            )
        # nvidia-smi counts along the bus, CUDA by speed unless told otherwise.
        order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        return [
            worker_member(
                f"gpu{name}",
                queue=queue,
                environment={**order, "CUDA_VISIBLE_DEVICES": name, "TUNEUP_DEVICE": f"cuda:{name}"},
            )
            for name in list_gpus(gpus or "all")
        ]
    if gpus is not None:
        raise ValueError("--gpus is for --queue gpu")
    workers = 1 if workers is None else workers
    if workers < 1:
        raise ValueError("--workers must be at least 1")
    # A CPU worker must not see a GPU, or its trainer would take memory there.
    hidden = {"CUDA_VISIBLE_DEVICES": "", "TUNEUP_DEVICE": "cpu"}
    return [worker_member(f"{queue}{number}", queue=queue, environment=hidden) for number in range(workers)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the workers until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    given = parser().parse_args(arguments)
    try:
        # Looked at here, or every worker would fail on it again and again.
        settings = load()
        split_broker(settings.broker_url)
        read_objectives(settings.objectives)
        wanted = members(given.queue, given.workers, given.gpus)
    except ValueError as error:
        sys.stderr.write(f"tuneup worker: {error}\n")
        return 2
    fault = database_fault(settings.database_url)
    if fault is not None:
        sys.stderr.write(f"tuneup worker: {fault}\n")
        return 1
    # They start in another folder: what is relative to this one is settled here.
    shared = {**places(settings), **threads(settings, workers=len(wanted))}
    settled = [replace(member, environment={**member.environment, **shared}) for member in wanted]
    fleet = Fleet(settled, grace_seconds=settings.grace_seconds)
    # A plain list: an event that is set in a handler may wait for the lock of the very `wait` it interrupted.
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.append(number))
    fleet.start()
    while not told:
        time.sleep(LOOK_SECONDS)
        fleet.mend()
    fleet.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
