"""A worker process that needs no trainer: `python -m tests.support.grinder URL NAME SECONDS`.

It claims two trials at a time, holds them for so long, completes them, and ends when there is nothing left. Where
sixteen share few processors a turn at the database may be long in coming: like a real worker it does not give up.
"""

import sys
import time

from models.session import Database
from search.trials.dispatch import Dispatcher
from tests.support.ledger import done

PATIENCE = 120.0


def grind(url: str, name: str, seconds: float) -> None:
    worker = Dispatcher(Database(url, patience=PATIENCE), worker=name)
    while claims := worker.claim(queue="cpu", capacity=2):
        time.sleep(seconds)
        worker.finish([done(claim, 1 / (1 + claim.number)) for claim in claims])


if __name__ == "__main__":
    grind(sys.argv[1], sys.argv[2], float(sys.argv[3]))
