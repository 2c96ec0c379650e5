"""Half-space reporting: which rows of a matrix have an inner product over a threshold with a point of the unit sphere.

The public face of what is in `back_ends`, for rows that move, come and go. All back ends give the same answers; what they
take for it, `stats` tells. The trainer uses them directly.
"""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from .active import Active
from .back_ends.ball_tree import BallTree
from .back_ends.dense import scanned
from .back_ends.interface import BackEnd, Counters
from .back_ends.table import BACK_ENDS, DEFAULT_SLACK, Options
from .checks import LENGTH_TOLERANCE, check_numbers, check_on_sphere, check_rows
from .kernels.choice import kernels
from .kernels.interface import Kernels, Layer


@dataclass(frozen=True, slots=True)
class Stats:
    """What was done so far: of the present rows `active` and `candidates` are mean shares for a query.

    `refreshed` rows were looked at anew for all inputs, on `flushes` occasions; `bytes` are held beside weights and inputs.
    """

    queries: int
    active: float
    candidates: float
    refreshed: int
    flushes: int
    bytes: int
    build_seconds: float


class HalfSpaceReporter:
    """Reports for inputs (n, d) who of the rows of `layer.weights` (m, d) is over the threshold.

    Move rows of `layer.weights` in place, and tell `update` how far; `insert` may put another tensor there.
    """

    def __init__(self, layer: Layer, loops: Kernels, back_end: BackEnd, options: Options, build_seconds: float) -> None:
        self.layer = layer
        self._loops = loops
        self._back_end = back_end
        self._threshold = options.threshold
        self._build_seconds = build_seconds
        self._gone = torch.zeros(len(layer.weights), dtype=torch.bool)

    @classmethod
    def build(
        cls,
        inputs: Tensor,
        weights: Tensor,
        signs: Tensor | None = None,
        *,
        threshold: float,
        back_end: str = "lists",
        slack: float = DEFAULT_SLACK,
        allowed_bytes: float = math.inf,
        threads: int = 1,
    ) -> "HalfSpaceReporter":
        """Build the back end for inputs (n, d) of length 1, weights (m, d) and signs (m, C), which are 1 if not given.

        All are float32 and kept, not copied. Raise ValueError for others, and where the back end needs too much memory.
        """
        if back_end not in BACK_ENDS:
            raise ValueError(f"unknown back end {back_end!r}: choose one of {', '.join(sorted(BACK_ENDS))}")
        options = Options(threshold, slack, allowed_bytes)
        signs = torch.ones(len(weights), 1) if signs is None else signs
        check_rows(inputs, "input")
        check_on_sphere(inputs)
        _check_neurons(weights, signs, inputs.shape[1])
        layer = Layer(weights, inputs, signs, torch.zeros(len(weights)))
        loops = kernels(threads=threads)
        began = time.perf_counter()
        built = BACK_ENDS[back_end](layer, loops, Counters(), options)
        return cls(layer, loops, built, options, time.perf_counter() - began)

    def query(self, numbers: Tensor) -> Active:
        """Return who is over the threshold for the inputs with these numbers, (B,) int64."""
        check_numbers(numbers, len(self.layer.inputs), "input")
        return self._back_end.query(numbers, self._threshold) if len(numbers) else Active.room(0, 0)

    def query_points(self, points: Tensor) -> Active:
        """Return who is over the threshold for any points (B, d): what does not know them compares them with all rows."""
        check_rows(points, "point", features=self.layer.inputs.shape[1])
        if isinstance(self._back_end, BallTree):
            return self._back_end.query_points(points, self._threshold)
        weights = self.layer.weights
        active = scanned(self._loops, points, weights, self._threshold)
        products = len(points) * len(weights)
        self._back_end.counters.take(len(points), candidates=products, active=int(active.counts.sum()))
        return active

    def update(self, neurons: Tensor, distances: Tensor) -> None:
        """Take note that rows (k,) int64 were moved by at most so much, (k,) float32, since it was told last."""
        self._check_present(neurons)
        if distances.shape != neurons.shape or not ((distances >= 0) & distances.isfinite()).all():
            raise ValueError(
                f"each of {len(neurons)} neurons needs a finite distance of at least 0 by which it was moved, "
                f"got {tuple(distances.shape)} of them, the least {distances.min() if distances.numel() else None}"
            )
        paths, allowance = self.layer.paths, self._back_end.allowance(self._threshold)
        moved = torch.unique(neurons)
        before = paths[moved]
        paths.index_add_(0, neurons, distances.float() * (1.0 + LENGTH_TOLERANCE))
        self._tell(moved[(before <= allowance) & (paths[moved] > allowance)])

    def insert(self, weights: Tensor, signs: Tensor | None = None) -> Tensor:
        """Add neurons with these rows (k, d) and signs (k, C); return their numbers (k,) int64. Those of deleted ones are reused."""
        layer = self.layer
        signs = torch.ones(len(weights), layer.signs.shape[1]) if signs is None else signs
        _check_neurons(weights, signs, layer.weights.shape[1], outputs=layer.signs.shape[1])
        free = torch.nonzero(self._gone)[:, 0][: len(weights)]
        numbers = torch.cat([free, len(layer.weights) + torch.arange(len(weights) - len(free))])
        self._grow(len(weights) - len(free))
        self._replace(numbers, weights, signs)
        self._gone[numbers] = False
        return numbers

    def delete(self, numbers: Tensor) -> None:
        """Take neurons (k,) int64 out: their rows and signs become 0, so that nothing is over the threshold any more."""
        self._check_present(numbers)
        self._replace(numbers, torch.zeros(1), torch.zeros(1))
        self._gone[numbers] = True

    def stats(self) -> Stats:
        """Return what was done so far."""
        counters = self._back_end.counters
        pairs = max(1, counters.queries * len(self.layer.weights))
        return Stats(
            queries=counters.queries,
            active=counters.active / pairs,
            candidates=counters.candidates / pairs,
            refreshed=counters.refreshed,
            flushes=counters.flushes,
            bytes=self._back_end.bytes,
            build_seconds=self._build_seconds,
        )

    def _check_present(self, numbers: Tensor) -> None:
        check_numbers(numbers, len(self.layer.weights), "neuron")
        gone = numbers[self._gone[numbers]]
        if len(gone):
            raise ValueError(f"neuron {int(gone[0])} was deleted: insert neurons to have more")

    def _replace(self, numbers: Tensor, weights: Tensor, signs: Tensor) -> None:
        layer = self.layer
        layer.weights[numbers], layer.signs[numbers] = weights, signs
        layer.paths[numbers] = math.inf
        self._tell(torch.unique(numbers))

    def _grow(self, added: int) -> None:
        layer = self.layer
        if added:
            layer.weights, layer.signs, layer.paths = (
                torch.cat([each, each.new_zeros(added, *each.shape[1:])])
                for each in (layer.weights, layer.signs, layer.paths)
            )
            self._gone = torch.cat([self._gone, self._gone.new_ones(added)])

    def _tell(self, neurons: Tensor) -> None:
        # Also of nobody: a back end may have waited for its time to do something.
        self._back_end.update(neurons.int(), self._threshold)


def _check_neurons(weights: Tensor, signs: Tensor, features: int, *, outputs: int | None = None) -> None:
    check_rows(weights, "neuron", features=features)
    check_rows(signs, "sign", features=outputs)
    if len(signs) != len(weights):
        raise ValueError(f"each of {len(weights)} neurons needs its signs, got {len(signs)}")
