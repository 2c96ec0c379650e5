"""How the lab's answers look."""

from typing import Literal

from pydantic import BaseModel


class PathOut(BaseModel):
    """Where a run was, at its start and after each step, and the surface's value there."""

    x: list[float]
    y: list[float]
    value: list[float]


class RunOut(BaseModel):
    """One optimizer at its best rate or the one given; `steps` is the first at which the stop held."""

    optimizer: str
    title: str
    options: dict[str, float | bool]
    lr: float
    outcome: Literal["arrived", "unfinished", "diverged"]
    steps: int | None
    path: PathOut


class GridOut(BaseModel):
    """`values[row][column]` is the surface at (`x[column]`, `y[row]`)."""

    x: list[float]
    y: list[float]
    values: list[list[float]]


class SurfaceOut(BaseModel):
    """Runs of optimizers on a surface, at most `steps` steps long, and the surface's values over its window."""

    surface: str
    title: str
    formula: str
    source: str
    start: tuple[float, float]
    minimum: tuple[float, float] | None
    stop: str
    steps: int
    runs: list[RunOut]
    contours: GridOut


class CurveOut(BaseModel):
    """A moving average of the signal, over about `window` = 1 / (1 - beta) values."""

    beta: float
    window: float
    values: list[float]


class MovingAverageOut(BaseModel):
    """A noisy signal and its moving averages."""

    correction: bool
    signal: list[float]
    curves: list[CurveOut]
