"""Functions with known minima, as studies see them: a space, a value, and how far above the minimum a point is.

The standard ones are written from S. Surjanovic and D. Bingham's virtual library of simulation experiments. The mixed and
conditional ones have a minimum of zero by construction.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Params: TypeAlias = Mapping[str, Any]
Space: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Function:
    """`value` is at least 0 and 0 at its minimum; what is observed has noise of this deviation."""

    space: Space
    value: Callable[[Params], float]
    noise: float = 0.0


def _box(*bounds: tuple[float, float]) -> Space:
    return {f"x{index}": {"type": "float", "low": low, "high": high} for index, (low, high) in enumerate(bounds)}


def _vector(params: Params) -> NDArray[np.float64]:
    return np.array([params[f"x{index}"] for index in range(len(params))])


def branin(params: Params) -> float:
    x, y = _vector(params)
    bowl = (y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6) ** 2
    return float(bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.39788735772973816)


_WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])
_HARTMANN = {
    3: (
        np.array([[3.0, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]]),
        1e-4 * np.array([[3689.0, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]),
        3.86278214782076,
    ),
    6: (
        np.array([[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]),
        1e-4
        * np.array(
            [
                [1312.0, 1696, 5569, 124, 8283, 5886],
                [2329, 4135, 8307, 3736, 1004, 9991],
                [2348, 1451, 3522, 2883, 3047, 6650],
                [4047, 8828, 8732, 5743, 1091, 381],
            ]
        ),
        3.32236801141551,
    ),
}  # fmt: skip


def hartmann(params: Params) -> float:
    scales, places, depth = _HARTMANN[len(params)]
    wells = np.exp(-(scales * (_vector(params) - places) ** 2).sum(axis=1))
    return max(depth - float(_WEIGHTS @ wells), 0.0)


def ackley(params: Params) -> float:
    x = _vector(params) - 3.1  # the minimum is not in the middle of the box, where a search may begin
    rise = 20 - 20 * math.exp(-0.2 * math.sqrt(float((x * x).mean())))
    return rise + math.e - math.exp(float(np.cos(2 * math.pi * x).mean()))


def rosenbrock(params: Params) -> float:
    x = _vector(params)
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


def levy(params: Params) -> float:
    w = 1 + (_vector(params) - 1) / 4
    middle = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)
    end = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return float(math.sin(math.pi * w[0]) ** 2 + middle.sum() + end)


_SHAPES = {"plain": (0.3, 0.1), "wide": (0.0, 0.4), "deep": (0.1, 0.75)}  # how much worse, and where its best is
_MIXED: Space = {
    "shape": {"type": "categorical", "choices": list(_SHAPES)},
    "rate": {"type": "float", "low": 1e-5, "high": 1.0, "scale": "log"},
    "share": {"type": "float", "low": 0.0, "high": 1.0},
    "depth": {"type": "int", "low": 1, "high": 20},
}


def mixed(params: Params) -> float:
    worse, best = _SHAPES[params["shape"]]
    bowl = (math.log10(params["rate"]) + 2 + best) ** 2 + 4 * (params["share"] - best) ** 2
    return float(worse + bowl + 0.05 * abs(params["depth"] - 7))


_CONDITIONAL: Space = {
    "kind": {"type": "categorical", "choices": ["deep", "wide"]},
    "rate": {"type": "float", "low": 1e-5, "high": 1.0, "scale": "log"},
    "layers": {"type": "int", "low": 1, "high": 8, "when": {"kind": ["deep"]}},
    "dropout": {"type": "float", "low": 0.0, "high": 0.9, "when": {"kind": ["deep"]}},
    "width": {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": ["wide"]}},
}


def conditional(params: Params) -> float:
    decade = math.log10(params["rate"])
    if params["kind"] == "wide":
        return float(0.15 + 0.3 * (decade + 1) ** 2 + (params["width"] - 0.6) ** 2)
    return float(0.5 * (decade + 3) ** 2 + 0.1 * abs(params["layers"] - 4) + (params["dropout"] - 0.3) ** 2)


FUNCTIONS: Mapping[str, Function] = {
    "branin": Function(_box((-5.0, 10.0), (0.0, 15.0)), branin),
    "hartmann3": Function(_box(*[(0.0, 1.0)] * 3), hartmann),
    "hartmann6": Function(_box(*[(0.0, 1.0)] * 6), hartmann),
    "ackley5": Function(_box(*[(-10.0, 10.0)] * 5), ackley),
    "rosenbrock4": Function(_box(*[(-2.0, 2.0)] * 4), rosenbrock),
    "levy4": Function(_box(*[(-10.0, 10.0)] * 4), levy),
    "mixed": Function(_MIXED, mixed),
    "conditional": Function(_CONDITIONAL, conditional),
    "noisy branin": Function(_box((-5.0, 10.0), (0.0, 15.0)), branin, noise=2.0),
    "noisy hartmann6": Function(_box(*[(0.0, 1.0)] * 6), hartmann, noise=0.1),
}
