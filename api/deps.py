"""What routes are given: the services of this process, and the project of the caller."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.lab.laboratory import Laboratory
from models.session import Database
from search.trials.claiming import Claimer
from workers.queue import Doorbell


@dataclass(frozen=True, slots=True)
class Services:
    """What an API process holds for as long as it lives."""

    database: Database
    doorbell: Doorbell
    project_id: int
    api_key: str | None
    worker_seconds: float
    lease_seconds: float
    claimer: Claimer
    lab: Laboratory


def get_services(request: Request) -> Services:
    """Return the services that the lifespan made."""
    services: Services = request.app.state.services
    return services


Given = Annotated[Services, Depends(get_services)]
