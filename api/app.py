"""The HTTP application: parse, one call, respond."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, Depends, FastAPI

from api import errors
from api.auth import require_key
from api.deps import Services
from api.etags import Etags
from api.routes import catalogs, health, studies, trials
from models.session import Database
from models.studies import DEFAULT_PROJECT, ensure_project
from search.clock import utc_now
from settings import Settings
from workers.queue import Doorbell, make_app
from workers.reaper import Reaper

log = logging.getLogger("tuneup.api")

MOST_BYTES = 1024 * 1024


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application; `settings` are read from the environment unless given."""
    app = FastAPI(
        title="tuneup",
        version=_version(),
        summary="Hyperparameter optimization over HTTP.",
        lifespan=_lifespan(settings or Settings()),
        openapi_url="/v1/openapi.json",
        # Their pages load scripts from other hosts; the document itself is all that is served.
        docs_url=None,
        redoc_url=None,
        max_body_size=MOST_BYTES,
    )
    guarded = APIRouter(prefix="/v1", dependencies=[Depends(require_key)])
    for routes in (studies, trials, catalogs):
        guarded.include_router(routes.router)
    app.include_router(guarded)
    app.include_router(health.router)
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
        database = Database(settings.database_url)
        doorbell = Doorbell(make_app(settings.broker_url))
        reaper = Reaper(
            database,
            lease_seconds=settings.lease_seconds,
            period_seconds=settings.reaper_seconds,
            nudge=doorbell.nudge,
        )
        app.state.services = Services(
            database=database,
            doorbell=doorbell,
            project_id=database.write(lambda connection: ensure_project(connection, DEFAULT_PROJECT, utc_now())),
            api_key=settings.api_key.get_secret_value() if settings.api_key is not None else None,
            worker_seconds=3 * settings.heartbeat_seconds,
        )
        reaper.start()
        yield
        reaper.stop()
        doorbell.close()
        database.dispose()

    return lifespan
