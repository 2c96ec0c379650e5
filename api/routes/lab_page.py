"""The page at /lab: a form, the pictures it asks for, and the table of step counts. It works without scripts."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.datastructures import QueryParams

from api.deps import Given
from api.html import PageRoute, page
from api.lab.errors import LabUnavailable
from api.lab.questions import (
    DEFAULT_BETAS,
    DEFAULT_OPTIMIZERS,
    DEFAULT_SURFACE,
    MOST_OPTIMIZERS,
    Chosen,
    average_question,
    surface_question,
)
from optim.lab.optimizers import OPTIMIZERS
from optim.lab.surfaces import MOST_STEPS, STEPS, SURFACES
from search.errors import Fault, InvalidValue

router = APIRouter(route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse)

BETAS = ("0.5", "0.8", "0.9", "0.95", "0.98", "0.99", "0.995")
T = TypeVar("T", int, float)


@dataclass(frozen=True, slots=True)
class Form:
    """The form as it was sent, every field as text; what is missing has its default."""

    surface: str
    optimizers: Sequence[str]
    lr: str
    steps: str
    options: str
    betas: Sequence[str]
    correction: bool


@router.get("/lab")
async def show_lab(request: Request, given: Given) -> HTMLResponse:
    """Show optimizers on a surface, and moving averages."""
    form = _form(request.query_params)
    shown: dict[str, Any] = {"form": form, "surfaces": SURFACES, "optimizers": OPTIMIZERS, "betas": BETAS}
    shown |= {"most": MOST_OPTIMIZERS, "most_steps": MOST_STEPS}
    try:
        chosen, betas = _read(form)
        question = surface_question(chosen)
        average_question(betas, correction=form.correction)
    except InvalidValue as error:
        return page("lab.html", status=422, faults=error.faults, notice=None, result=None, **shown)
    try:
        result = json.loads(await given.lab.ask(question))
    except LabUnavailable as error:
        return page("lab.html", status=503, faults=(), notice=str(error), result=None, **shown)
    return page("lab.html", faults=(), notice=None, result=result, pictures=_pictures(chosen, form), **shown)


def _form(given: QueryParams) -> Form:
    return Form(
        surface=given.get("surface", DEFAULT_SURFACE),
        optimizers=given.getlist("optimizer") or DEFAULT_OPTIMIZERS,
        lr=given.get("lr", "").strip(),
        steps=given.get("steps", "").strip() or str(STEPS),
        options=" ".join(given.getlist("option")),
        betas=given.getlist("beta") or [f"{beta:g}" for beta in DEFAULT_BETAS],
        correction=given.get("correction", "on") != "off",
    )


def _read(form: Form) -> tuple[Chosen, list[float]]:
    """Turn text into numbers. Raise InvalidValue naming the field that is none."""
    lr = _number("lr", form.lr, float) if form.lr else None
    steps = _number("steps", form.steps, int)
    betas = [_number("beta", beta, float) for beta in form.betas]
    return Chosen(form.surface, form.optimizers, lr, steps, form.options.split()), betas


def _number(name: str, text: str, kind: Callable[[str], T]) -> T:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise InvalidValue([Fault(f"query.{name}", f"must be {what}, got {text[:40]!r}")]) from None


def _pictures(chosen: Chosen, form: Form) -> dict[str, str]:
    """Return the addresses of the three pictures, without their format."""
    surface: list[tuple[str, str]] = [("surface", chosen.surface), ("steps", str(chosen.steps))]
    surface += [("optimizer", name) for name in chosen.optimizers]
    surface += [("option", option) for option in chosen.options]
    surface += [("lr", form.lr)] if form.lr else []
    average = [("beta", beta) for beta in form.betas] + [("correction", str(form.correction).lower())]
    return {
        "contours": f"/v1/lab/surface?{urlencode([*surface, ('figure', 'contours')])}",
        "evolution": f"/v1/lab/surface?{urlencode([*surface, ('figure', 'evolution')])}",
        "average": f"/v1/lab/moving-average?{urlencode(average)}",
    }
