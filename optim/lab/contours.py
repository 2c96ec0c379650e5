"""The values of a surface on a grid over its window, for whoever draws the lines."""

from dataclasses import dataclass

import torch

from .surfaces import Surface


@dataclass(frozen=True, slots=True)
class Grid:
    """`values[row][column]` is the surface at (`x[column]`, `y[row]`)."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]


def contours(surface: Surface, points: int) -> Grid:
    """Evaluate the surface on `points` times `points` places, the window's edges included."""
    window = surface.window
    x = torch.linspace(window.left, window.right, points, dtype=torch.float64)
    y = torch.linspace(window.bottom, window.top, points, dtype=torch.float64)
    values = surface.value(x.unsqueeze(0), y.unsqueeze(1)).expand(points, points)
    return Grid(tuple(x.tolist()), tuple(y.tolist()), tuple(tuple(row) for row in values.tolist()))
