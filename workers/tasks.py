"""What Celery runs: `celery -A workers.tasks worker -Q cpu -c 1`. Each child process gets one supervisor."""

import contextlib
import os
import signal
from typing import Any

from billiard.process import active_children
from celery.signals import worker_process_init, worker_process_shutdown, worker_ready, worker_shutting_down

from models.session import Database
from settings import Settings
from workers.checkpoints import Shelf
from workers.habits import Habits
from workers.objectives import read_objectives
from workers.queue import LOOK, Doorbell, make_app
from workers.reaper import Reaper
from workers.running import Terms
from workers.supervisor import Supervisor
from workers.tether import die_with_parent

settings = Settings()
app = make_app(settings.broker_url)
terms = Terms(
    registry=read_objectives(settings.objectives),
    shelf=Shelf(settings.checkpoints, settings.checkpoint_seconds),
    data=settings.data,
    grace_seconds=settings.grace_seconds,
)
_supervisors: list[Supervisor] = []
# How the main process asks a child to give back its trial. A child without a handler ignores it, and the pool, which
# takes SIGTERM and most others for itself, leaves it alone.
_GIVE_BACK = signal.SIGURG


@app.task(name=LOOK, ignore_result=True)
def look() -> None:
    """Look for work: the message says no more than that."""
    for supervisor in _supervisors:
        supervisor.turn()


@worker_process_init.connect
def _begin(**_: Any) -> None:  # noqa: ANN401  Celery's signal arguments
    die_with_parent(os.getppid())
    doorbell = Doorbell(app)
    habits = Habits(
        queue=settings.queue,
        heartbeat_seconds=settings.heartbeat_seconds,
        poll_seconds=settings.poll_seconds,
        population=settings.population,
        threads=settings.threads or 1,
        device=settings.device,
        terms=terms,
    )
    # Two connections, and two more when beating, reaping, tidying, a turn and its claims want them.
    database = Database(settings.database_url, pool_size=2)
    supervisor = Supervisor(database, habits, nudge=lambda queue: doorbell.nudge([queue]))
    _supervisors.append(supervisor)
    # Here too, so that dead workers are noticed while no API process runs. It ends with this process.
    Reaper(
        database,
        lease_seconds=settings.lease_seconds,
        period_seconds=settings.reaper_seconds,
        nudge=doorbell.nudge,
    ).start()
    # The main process tells us to stop: what runs is given back, not finished. A SIGTERM to the whole group is for the
    # main process alone; the pool's own handler would exit from the middle of a trial.
    signal.signal(_GIVE_BACK, lambda *_: supervisor.ask_to_stop())
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    supervisor.start()


@worker_process_shutdown.connect
def _end(**_: Any) -> None:  # noqa: ANN401  Celery's signal arguments
    for supervisor in _supervisors:
        supervisor.close()


@worker_ready.connect
def _quit_at_once(**_: Any) -> None:  # noqa: ANN401  Celery's signal arguments
    """Celery's cold shutdown would wait for children to heed a SIGTERM, which they do not: quitting is dying."""
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@worker_shutting_down.connect
def _pass_on(**_: Any) -> None:  # noqa: ANN401  Celery's signal arguments
    """A warm shutdown waits for tasks to end, and a turn may last for hours: so ask each child to give back its trial."""
    for child in active_children():
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, _GIVE_BACK)
