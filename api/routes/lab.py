"""The lab: optimizers on known surfaces, and moving averages, as data, as pictures, and on a page. It only reads."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from api.deps import Given
from api.errors import documented
from api.html import PICTURE_HEADERS
from api.lab.questions import (
    DEFAULT_BETAS,
    DEFAULT_OPTIMIZERS,
    DEFAULT_SURFACE,
    HIGHEST_BETA,
    MOST_BETAS,
    MOST_OPTIMIZERS,
    MOST_OPTIONS,
    Chosen,
    average_question,
    surface_question,
)
from api.schemas.lab import MovingAverageOut, SurfaceOut
from optim.lab.optimizers import OPTIMIZERS
from optim.lab.surfaces import MOST_STEPS, STEPS, SURFACES

router = APIRouter(prefix="/lab", tags=["lab"])


class Format(StrEnum):
    """How an answer is wanted."""

    JSON = "json"
    SVG = "svg"
    PNG = "png"


class Figure(StrEnum):
    """Which picture of a surface: paths over its contours, or its value against the step."""

    CONTOURS = "contours"
    EVOLUTION = "evolution"


MEDIA_TYPES = {Format.JSON: "application/json", Format.SVG: "image/svg+xml", Format.PNG: "image/png"}
_PICTURES: dict[str, Any] = {MEDIA_TYPES[Format.SVG]: {}, MEDIA_TYPES[Format.PNG]: {}}
_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": _PICTURES}, **documented(304)}

SurfaceName = Annotated[str, Query(json_schema_extra={"enum": list(SURFACES)})]
Optimizers = Annotated[
    list[str],
    Query(
        min_length=1,
        max_length=MOST_OPTIMIZERS,
        description=f"Names from GET /v1/optimizers, at most {MOST_OPTIMIZERS}: none that looks at layers, and not sparse_sgd",
        json_schema_extra={"items": {"type": "string", "enum": list(OPTIMIZERS)}},
    ),
]
Rate = Annotated[
    float | None, Query(gt=0, le=1e6, description="Learning rate; without it each runs at the best of the grid")
]
Steps = Annotated[int, Query(ge=1, le=MOST_STEPS, description="How many at most")]
Options = Annotated[
    list[str],
    Query(
        max_length=MOST_OPTIONS, description="Options of one optimizer, as `optimizer.option:value`: `adam.beta1:0.8`"
    ),
]
Betas = Annotated[
    list[Annotated[float, Query(ge=0, le=HIGHEST_BETA)]],
    Query(min_length=1, max_length=MOST_BETAS, description="Weights of the past"),
]
Correction = Annotated[bool, Query(description="Whether to take away the bias of the cold start")]


@router.get("/surface", response_model=SurfaceOut, responses=_ANSWERS)
async def get_surface(
    given: Given,
    surface: SurfaceName = DEFAULT_SURFACE,
    optimizer: Optimizers = list(DEFAULT_OPTIMIZERS),  # noqa: B006  FastAPI copies it
    lr: Rate = None,
    steps: Steps = STEPS,
    option: Options = [],  # noqa: B006  FastAPI copies it
    format: Format = Format.JSON,  # noqa: A002  the name in the address
    figure: Figure = Figure.CONTOURS,
) -> Response:
    """Run optimizers on a surface: the steps each takes, its path, and the contours; or a picture of them."""
    chosen = Chosen(surface, optimizer, lr, steps, option)
    question = surface_question(chosen, file_format=format.value, figure=figure.value)
    return _answer(await given.lab.ask(question), format)


@router.get("/moving-average", response_model=MovingAverageOut, responses=_ANSWERS)
async def get_moving_average(
    given: Given,
    beta: Betas = list(DEFAULT_BETAS),  # noqa: B006  FastAPI copies it
    correction: Correction = True,
    format: Format = Format.JSON,  # noqa: A002  the name in the address
) -> Response:
    """Average a noisy signal with several weights of the past; or draw that."""
    question = average_question(beta, correction=correction, file_format=format.value)
    return _answer(await given.lab.ask(question), format)


def _answer(body: bytes, wanted: Format) -> Response:
    headers = PICTURE_HEADERS if wanted is not Format.JSON else None
    return Response(body, media_type=MEDIA_TYPES[wanted], headers=headers)
