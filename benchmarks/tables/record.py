"""Record a tuning table: `python -m benchmarks.tables.record NAME` trains every point of its lattice with every seed.

Runs are trained in lanes, on one thread, so that one core is enough: at most three minutes for an MLP, twelve for the
CNN (docs/tables.md). What has been trained is kept in benchmarks/results/, and a recording that was interrupted goes on
from there; `--anew` forgets it.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.tables.lattice import Lattice
from benchmarks.tables.recordings import RECORDINGS, Recording
from benchmarks.tables.table import Curves, store
from training import loop, recipes
from training.course import Run
from training.population.lane import Lane
from training.state import Snapshot
from training.watch import Ending, Pause

CPU = torch.device("cpu")
KEPT = Path(__file__).parents[1] / "results" / "tables"
# So many runs are trained together, and kept at once.
TOGETHER = 256


@dataclass(slots=True, eq=False)
class Follower:
    """Keeps what one run reports, and wants nothing of it."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    def resume(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:
        """Begin at the beginning."""
        del fits
        return None

    def report(self, step: int, values: dict[str, float]) -> None:
        """Keep the measures of the validation part."""
        del step
        self.losses.append(values["val_loss"])
        self.accuracies.append(values["val_accuracy"])

    def between(self) -> Pause:
        """Go on."""
        return Pause.NONE

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Keep no snapshot."""


def train(recording: Recording, lattice: Lattice, numbers: Sequence[int]) -> Iterator[tuple[Follower, Ending]]:
    """Train runs together; yield what became of each, in their order. Run n is one of point n // seeds, of seed n."""
    plans = [
        recipes.prepare(recording.objective, lattice.points[number // recording.seeds], folder=None)
        for number in numbers
    ]
    network, data = plans[0].network, plans[0].data
    followers = [Follower() for _ in numbers]
    runs = [
        loop.start(network, data, given.plan, seed=number, watch=follower, device=CPU)
        for number, given, follower in zip(numbers, plans, followers, strict=True)
    ]
    lane, endings = Lane(network, data), dict[Run, Ending]()
    lane.join(runs)
    while lane.runs:
        endings.update(lane.advance())
    yield from zip(followers, (endings[run] for run in runs), strict=True)


class Ledger:
    """The runs of a recording that have been trained, kept in a file."""

    def __init__(self, name: str, recording: Recording, *, folder: Path = KEPT) -> None:
        self._path = folder / f"{name}.npz"
        self._recording, self._lattice = recording, Lattice.of(recording.space)
        self._about = json.dumps(asdict(recording), sort_keys=True)
        runs, epochs = len(self._lattice.points) * recording.seeds, recording.objective["epochs"]
        self._kept = {
            "losses": np.full((runs, epochs), np.inf),
            "accuracies": np.zeros((runs, epochs)),
            "reached": np.zeros(runs, np.int64),
            "diverged": np.zeros(runs, np.bool_),
            "done": np.zeros(runs, np.bool_),
        }
        self._read()

    @property
    def left(self) -> list[int]:
        """The numbers of the runs that are still to be trained."""
        found: list[int] = np.flatnonzero(~self._kept["done"]).tolist()
        return found

    def forget(self) -> None:
        """Forget what has been trained."""
        self._path.unlink(missing_ok=True)

    def train(self, numbers: Sequence[int]) -> None:
        """Train these runs, and keep what became of them."""
        kept = self._kept
        for number, (seen, end) in zip(numbers, train(self._recording, self._lattice, numbers), strict=True):
            reached = len(seen.losses)
            kept["losses"][number, :reached], kept["accuracies"][number, :reached] = seen.losses, seen.accuracies
            kept["reached"][number], kept["diverged"][number] = reached, end.outcome == "diverged"
            kept["done"][number] = True
        self._write()

    def curves(self) -> Curves:
        """Return all runs as the curves of a table."""
        seeds, objective = self._recording.seeds, self._recording.objective
        examples = len(recipes.prepare(objective, {}, folder=None).data.val)
        losses, accuracies, reached, diverged = (
            self._kept[name].reshape(-1, seeds, *self._kept[name].shape[1:])
            for name in ("losses", "accuracies", "reached", "diverged")
        )
        return Curves(losses, accuracies, reached, diverged, examples)

    def _read(self) -> None:
        """Take what the file has, if it is of this very recording."""
        if self._path.exists():
            with np.load(self._path) as stored:
                if str(stored["about"]) == self._about:
                    self._kept = {name: stored[name] for name in self._kept}

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new.npz")
        np.savez(fresh, allow_pickle=False, about=np.array(self._about), **self._kept)
        fresh.replace(self._path)


def record(name: str, *, anew: bool = False) -> Path:
    """Train what has not been trained, write the table, and return where it lies."""
    recording = RECORDINGS[name]
    if anew:
        Ledger(name, recording).forget()
    ledger = Ledger(name, recording)
    began, left = time.perf_counter(), ledger.left
    for first in range(0, len(left), TOGETHER):
        ledger.train(left[first : first + TOGETHER])
        done = min(first + TOGETHER, len(left))
        print(f"{name}: {done} of {len(left)} runs, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return store(name, recording.objective, recording.space, ledger.curves())


def main() -> None:
    """Record the tables that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables.record", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="+", choices=RECORDINGS, metavar="NAME", help=", ".join(RECORDINGS))
    parser.add_argument("--anew", action="store_true", help="forget what an interrupted recording has trained")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.names:
        path = record(name, anew=given.anew)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
