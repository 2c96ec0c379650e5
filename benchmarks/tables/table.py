"""Recorded tuning tables: what real training came to at every point of a lattice, for benchmarks that cannot wait for it.

`load("digits_mlp")` reads one; `benchmarks.tables.record` made it. Parameters in between are answered by the nearest
recorded point. A run that diverged has no result: its final loss is infinite, as is its curve behind where it ended.

    regret       mean final validation loss over the seeds, less the least such mean of the table
    normalised   regret / (median of these means - least): 0 is the best point, 1 a middling one
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables.lattice import Lattice, Point
from benchmarks.tables.packing import Counts, Floats, code_of, loss_of, pack, unpack, within

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """What runs of P points with S seeds each came to in E epochs.

    `losses` and `accuracies` (P, S, E) are those of the validation part, of `examples` examples. Of a run that `diverged`
    (P, S), so many epochs were `reached` (P, S) and measured; behind them stand infinity and 0.
    """

    losses: Floats
    accuracies: Floats
    reached: Counts
    diverged: NDArray[np.bool_]
    examples: int


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table: the objective and space of the study that it stands for, its points, and their curves."""

    name: str
    objective: Mapping[str, Any]
    space: Mapping[str, Mapping[str, Any]]
    lattice: Lattice
    curves: Curves
    means: Floats  # (P,) the final loss of each point, averaged over the seeds

    @property
    def points(self) -> tuple[Point, ...]:
        """The recorded points, in the order of `means` and of the curves."""
        return self.lattice.points

    @property
    def seeds(self) -> int:
        """How many runs each point has; they are numbered from 0."""
        return len(self.curves.reached[0])

    @property
    def epochs(self) -> int:
        """How many epochs a run has that does not diverge."""
        return len(self.curves.losses[0, 0])

    @property
    def best(self) -> float:
        """The least mean final loss."""
        return float(self.means.min())

    @property
    def best_point(self) -> Point:
        """The point that has it."""
        return dict(self.points[int(self.means.argmin())])

    @property
    def median(self) -> float:
        """The mean final loss of a middling point."""
        return float(np.median(self.means))

    def nearest(self, params: Mapping[str, Any]) -> Point:
        """Return the recorded point next to parameters, each by its own scale. Raise ValueError if one is missing."""
        return self.lattice.nearest(params)

    def curve(self, params: Mapping[str, Any], seed: int) -> Floats:
        """Return the validation loss after each epoch, shape (epochs,)."""
        found: Floats = self.curves.losses[self.lattice.row(params), seed].copy()
        return found

    def accuracy(self, params: Mapping[str, Any], seed: int) -> Floats:
        """Return the validation accuracy after each epoch, shape (epochs,); 0 behind where it diverged."""
        found: Floats = self.curves.accuracies[self.lattice.row(params), seed].copy()
        return found

    def final(self, params: Mapping[str, Any], seed: int) -> float:
        """Return the validation loss with which a run completed, infinity if it diverged."""
        place = self.lattice.row(params), seed
        return float("inf" if self.curves.diverged[place] else self.curves.losses[place][-1])

    def diverged_in(self, params: Mapping[str, Any], seed: int) -> int | None:
        """Return the epoch, from 1, in which a run diverged; the last one also of a run found so at its end."""
        row = self.lattice.row(params)
        if not self.curves.diverged[row, seed]:
            return None
        return min(int(self.curves.reached[row, seed]) + 1, self.epochs)

    def mean(self, params: Mapping[str, Any]) -> float:
        """Return the mean final loss over the seeds, infinity if one diverged."""
        return float(self.means[self.lattice.row(params)])

    def regret(self, params: Mapping[str, Any]) -> float:
        """Return how much worse than the best the parameters are, in units of the loss."""
        return self.mean(params) - self.best

    def normalised_regret(self, params: Mapping[str, Any]) -> float:
        """Return the regret in units of what the best point is better than a middling one."""
        return self.regret(params) / (self.median - self.best)


def finals(curves: Curves) -> Floats:
    """Return the loss with which each run completed (P, S), infinity of those that diverged."""
    found: Floats = np.where(curves.diverged, np.inf, curves.losses[..., -1])
    return found


def names() -> tuple[str, ...]:
    """Return the names of all tables."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.npz")))


def load(name: str, *, folder: Path = FOLDER) -> Table:
    """Read a table. Raise ValueError, listing the names of those there are, if there is none of this name."""
    path = folder / f"{name}.npz"
    if not path.exists():
        raise ValueError(f"no table {name!r}; valid: {', '.join(names())}")
    with np.load(path) as stored:
        about = json.loads(str(stored["about"]))
        curves = _curves({key: stored[key] for key in stored.files if key != "about"}, about["examples"])
    lattice = Lattice.of(about["space"])
    means = finals(curves).mean(axis=1)
    return Table(name, about["objective"], about["space"], lattice, curves, means)


def store(
    name: str, objective: Mapping[str, Any], space: Mapping[str, Any], curves: Curves, *, folder: Path = FOLDER
) -> Path:
    """Write a table, to be read by `load`, and return where it lies."""
    path = folder / f"{name}.npz"
    about = {"objective": objective, "space": space, "examples": curves.examples}
    hits = np.rint(curves.accuracies * curves.examples).astype(np.int16)
    np.savez_compressed(
        path,
        about=np.array(json.dumps(about)),
        losses=pack(code_of(curves.losses), curves.reached),
        hits=pack(hits, curves.reached),
        reached=curves.reached.astype(np.uint8),
        diverged=curves.diverged,
    )
    return path


def _curves(stored: Mapping[str, NDArray[Any]], examples: int) -> Curves:
    codes, hits, reached = unpack(stored["losses"]), unpack(stored["hits"]), stored["reached"].astype(np.int64)
    held = within(reached, codes.shape[-1])
    losses: Floats = np.where(held, loss_of(codes), np.inf)
    accuracies: Floats = np.where(held, hits / examples, 0.0)
    return Curves(losses, accuracies, reached, stored["diverged"], examples)
