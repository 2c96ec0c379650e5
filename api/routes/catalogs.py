"""What can be asked for: optimizers, schedules, objectives, strategies; and who is there to run it."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from api.deps import Given, Services
from api.errors import documented
from models.session import Row
from models.workers import list_workers
from optim.catalog import SCHEDULES, TRAINERS, WARMUPS
from search.clock import utc_now
from search.definition.networks import ANNOUNCED
from search.definition.objectives import RECIPES
from search.definition.prunings import PRUNINGS
from search.definition.searches import STRATEGIES

router = APIRouter(tags=["catalogs"])


class Catalog(BaseModel):
    """A whole catalog: it has one page."""

    data: list[dict[str, Any]]
    next: None = None


@router.get("/optimizers", responses=documented(304))
def get_optimizers() -> Catalog:
    """List the optimizers with their options, defaults, valid and recommended ranges."""
    return Catalog(data=[asdict(info) for info in TRAINERS.values()])


@router.get("/schedules", responses=documented(304))
def get_schedules() -> Catalog:
    """List the learning-rate schedules with their options, and the shapes of the warm-up before any of them."""
    kinds = (("schedule", SCHEDULES), ("warmup", WARMUPS))
    return Catalog(data=[{"kind": kind, **asdict(info)} for kind, table in kinds for info in table.values()])


@router.get("/objectives", responses=documented(304))
def get_objectives(given: Given) -> Catalog:
    """List the recipes with their data sets, networks and metrics, and what live workers have registered.

    A recipe's `options` are those that it has whatever optimizer and schedule are chosen.
    """
    recipes = [
        {"kind": "recipe", **asdict(recipe), "options": [asdict(option) for option in recipe.common.values()]}
        for recipe in RECIPES.values()
    ]
    return Catalog(data=[*recipes, *_registered(_live_workers(given))])


def _registered(workers: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """Turn what each worker announces around: for each objective or network, in how many workers of which queues it is."""
    queues: dict[str, list[str]] = {}
    for worker in workers:
        for name in worker.objectives:
            queues.setdefault(name, []).append(worker.queue)
    return [
        {
            "kind": "network" if name.startswith(ANNOUNCED) else "registered",
            "name": name.removeprefix(ANNOUNCED),
            "queues": sorted(set(found)),
            "workers": len(found),
        }
        for name, found in sorted(queues.items())
    ]


@router.get("/strategies", responses=documented(304))
def get_strategies() -> Catalog:
    """List the search strategies, and the ways to prune, with the fields each takes."""
    kinds = (("strategy", STRATEGIES), ("pruning", PRUNINGS))
    return Catalog(
        data=[
            {
                "name": name,
                "kind": kind,
                "title": " ".join((model.__doc__ or "").split()),
                "fields": model.model_json_schema()["properties"],
            }
            for kind, table in kinds
            for name, model in table.items()
        ]
    )


@router.get("/workers", responses=documented(304))
def get_workers(given: Given) -> Catalog:
    """List the workers that gave a sign of life lately."""
    rows = _live_workers(given)
    return Catalog(data=[dict(row._mapping) for row in rows])  # noqa: SLF001  the public name of a row's columns


def _live_workers(given: Services) -> Sequence[Row[Any]]:
    since = utc_now() - timedelta(seconds=given.worker_seconds)
    return given.database.read(lambda connection: list_workers(connection, since=since))
