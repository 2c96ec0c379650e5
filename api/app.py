"""The HTTP application: parse, one call, respond."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from api import errors
from api.auth import require_key
from api.bodies import BodyLimit
from api.deps import Services
from api.errors import documented
from api.etags import Etags
from api.lab.laboratory import Laboratory
from api.openapi import DocumentedApi
from api.queries import refuse_unknown
from api.routes import (
    analysis,
    catalogs,
    fronts,
    health,
    importing,
    interventions,
    lab,
    lab_page,
    pages,
    remote,
    starts,
    studies,
    trials,
)
from models.session import Database
from models.studies import DEFAULT_PROJECT, ensure_project
from search.clock import utc_now
from search.trials.claiming import Claimer
from settings import Settings
from workers.queue import Doorbell, make_app
from workers.reaper import Reaper

log = logging.getLogger("tuneup.api")

# Fewer than any pool has connections, and one of those is the reaper's: who comes while all are at work waits in line,
# where without this it would wait for a connection and be refused after some seconds.
REQUESTS_AT_ONCE = 14

STATIC = Path(__file__).resolve().parent.parent / "dashboard" / "static"


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application; `settings` are read from the environment unless given."""
    app = DocumentedApi(
        title="tuneup",
        version=_version(),
        summary="Hyperparameter optimization over HTTP.",
        lifespan=_lifespan(settings or Settings()),
        openapi_url="/v1/openapi.json",
        # Their pages load scripts from other hosts; the document itself is all that is served.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    guarded = APIRouter(
        prefix="/v1", dependencies=[Depends(require_key), Depends(refuse_unknown)], responses=documented(401, 422, 503)
    )
    for router in (
        studies.router,
        importing.router,
        fronts.router,
        trials.router,
        analysis.router,
        starts.router,
        remote.router,
        interventions.router,
        catalogs.router,
        pages.api_router,
        lab.router,
    ):
        guarded.include_router(router)
    app.include_router(guarded)
    for router in (pages.router, lab_page.router):
        app.include_router(router, dependencies=[Depends(require_key)])
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.include_router(health.router)
    app.add_middleware(BodyLimit)
    app.add_middleware(Etags)
    errors.install(app)
    return app


def _version() -> str:
    try:
        return version("tuneup")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = REQUESTS_AT_ONCE
        database = Database(settings.database_url)
        doorbell = Doorbell(make_app(settings.broker_url))
        reaper = Reaper(
            database,
            lease_seconds=settings.lease_seconds,
            period_seconds=settings.reaper_seconds,
            nudge=doorbell.nudge,
        )
        laboratory = Laboratory()
        app.state.services = Services(
            database=database,
            doorbell=doorbell,
            project_id=database.write(lambda connection: ensure_project(connection, DEFAULT_PROJECT, utc_now())),
            api_key=settings.api_key.get_secret_value() if settings.api_key is not None else None,
            worker_seconds=3 * settings.heartbeat_seconds,
            lease_seconds=settings.lease_seconds,
            claimer=Claimer(database),
            lab=laboratory,
        )
        reaper.start()
        yield
        laboratory.close()
        reaper.stop()
        doorbell.close()
        database.dispose()

    return lifespan
