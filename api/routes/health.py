"""Whether this process is alive, and whether a POST would be accepted."""

from fastapi import APIRouter
from pydantic import BaseModel

from api.deps import Given
from api.errors import documented
from migrations.upgrade import is_current
from models.session import Unavailable

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """A state of health."""

    status: str


@router.get("/healthz", responses=documented(304))
async def get_health() -> Health:
    """Answer as long as the process does."""
    return Health(status="ok")


@router.get("/readyz", responses=documented(304, 503))
def get_readiness(given: Given) -> Health:
    """Answer 200 when the database is there, at the right revision. The broker is not asked: work goes on without it."""
    if not given.database.read(is_current):
        raise Unavailable("the database is at another revision; run `tuneup migrate`")
    return Health(status="ready")
