"""How many trials a second are trained, beside one plain PyTorch process per core: `python -m benchmarks.population --json`.

Small networks on digits, random search, optimizers mixed, batches of the default size; the validation split is evaluated
and three values are reported after every epoch. Ours is the whole service (HTTP, ledger, workers), from the first claim
to the last finish; the peer only trains and keeps its results in a list. Every cell's peer runs right before it, ratios
are of two such neighbours, and what is shown is the median of the repeats.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch

from benchmarks import population_engine, population_peers
from benchmarks.embedded import duration, run_study, served
from benchmarks.hands import Hands, hands
from benchmarks.plain_torch import WAYS
from benchmarks.population_peers import Post, Task, rate, show_others
from benchmarks.population_trials import runs, study
from benchmarks.promises import Promise, line, show, table

CORES = os.cpu_count() or 1
# Times the peer's trials a second, at this width of the network, in the best population.
TARGETS: Mapping[str, Mapping[int, float]] = {"cpu": {32: 8.0, 64: 4.0}, "gpu": {32: 20.0}}
PILOT = 16  # trials for each worker, at most, that warm up a cell and say how long its run is to be
MOST_TRIALS = 8192


@dataclass(frozen=True, slots=True)
class Protocol:
    """What is measured: `seconds` is about how long a run of ours takes, `peer_seconds` one of the peer's.

    There are `repeats` repeats, or fewer where another one would not end within `limit` seconds. `beside` are the widths
    at which the other peers are measured too, `ray_trials` how many trials Ray gets.
    """

    widths: tuple[int, ...]
    populations: tuple[int, ...]
    repeats: int
    limit: float
    epochs: int
    seconds: float
    peer_seconds: float
    beside: tuple[int, ...]
    ray_trials: int


PROTOCOLS: Mapping[str, Protocol] = {
    "quick": Protocol((32, 64), (1, 64), 1, 60, 10, 2.5, 1.5, beside=(32,), ray_trials=8),
    "standard": Protocol((16, 32, 64, 128, 256), (1, 4, 16, 64, 256), 3, 900, 15, 5, 2, beside=(32, 64), ray_trials=24),
    "full": Protocol(
        (16, 32, 64, 128, 256), (1, 2, 4, 8, 16, 32, 64, 128, 256), 7, 7200, 15, 10, 4,
        beside=(16, 32, 64, 128, 256), ray_trials=64,
    ),
}  # fmt: skip


@dataclass(slots=True)
class Cell:
    """All runs of one width and population, in trials a second: ours, its neighbours of the peer's, and our engine alone.

    `single` are the peer's with one process, where that is another thing: on a GPU, which several processes share.
    """

    width: int
    population: int
    ours: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    single: list[float] = field(default_factory=list)
    engine: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        """How many times the peer's trials a second ours are; on a GPU, those of the faster way of the peer's."""
        theirs = list(self.plain)
        if self.single:
            theirs = [max(pair) for pair in zip(self.plain, self.single, strict=True)]
        return median(ours / peer for ours, peer in zip(self.ours, theirs, strict=True))


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run of anything needs. `ways` and `rates` are how torch.optim is faster at a width, and how fast one run is."""

    protocol: Protocol
    hands: Hands
    device: str
    ways: dict[int, str] = field(default_factory=dict)
    rates: dict[int, float] = field(default_factory=dict)

    def plain(self, width: int, *, processes: int = CORES) -> float:
        """Run the peer at the faster way of its optimizer."""
        trials = max(processes, round(self.rates[width] * self.protocol.peer_seconds))
        return self._plain(width, trials, self.ways[width], processes)

    def choose(self, width: int) -> None:
        """Find out which way of stepping is faster for the peer."""
        found = {way: self._plain(width, 4 * CORES, way, CORES) for way in WAYS}
        self.ways[width] = max(found, key=lambda way: found[way])
        self.rates[width] = found[self.ways[width]]
        say(f"  width {width}: plain PyTorch, trials/s: {found}")

    def _plain(self, width: int, trials: int, way: str, processes: int) -> float:
        device = "cuda" if self.device == "gpu" else "cpu"
        shared = runs(width, trials, epochs=self.protocol.epochs)
        self.hands.ready(processes, population_peers.plain, shared, processes, way, device)
        return rate(self.hands.go(processes))

    def engine(self, width: int, population: int, *, expected: float) -> float:
        """Run our trainers without the service, one process per core, or one on a GPU; `expected` as the pilot's."""
        processes = 1 if self.device == "gpu" else CORES
        trials = self._trials(expected, population * processes)
        shared = runs(width, trials, epochs=self.protocol.epochs)
        self.hands.ready(processes, population_engine.prepare, shared, processes, population, self.device)
        return rate(self.hands.go(processes))

    def service(self, width: int, population: int, post: Post) -> tuple[float, int]:
        """Run the service twice: a pilot, then what counts. Return its trials a second and how many trials it was."""
        workers = 1 if self.device == "gpu" else CORES
        pilot = workers * max(2, min(population, PILOT))
        expected = pilot / post(width, pilot)
        trials = self._trials(expected, population * workers)
        return trials / post(width, trials), trials

    def _trials(self, expected: float, least: int) -> int:
        return min(MOST_TRIALS, max(least, round(expected * self.protocol.seconds)))


def measure(bench: Bench) -> list[Cell]:
    """Run the protocol."""
    protocol = bench.protocol
    cells = [Cell(width, population) for population in protocol.populations for width in protocol.widths]
    for width in protocol.widths:
        bench.choose(width)
    began = time.monotonic()
    for repeat in range(protocol.repeats):
        if (time.monotonic() - began) * (repeat + 1) > protocol.limit * max(repeat, 1):
            break
        for population in protocol.populations:
            _measure(bench, [cell for cell in cells if cell.population == population], population)
    return cells


def _measure(bench: Bench, cells: Sequence[Cell], population: int) -> None:
    """Measure one population at every width, on one service."""
    epochs = bench.protocol.epochs
    with served(workers=CORES, device=bench.device, population=population) as client:

        def post(width: int, trials: int) -> float:
            return duration(run_study(client, study(width, trials, epochs=epochs, device=bench.device)))

        for cell in cells:
            cell.plain.append(bench.plain(cell.width))
            if bench.device == "gpu":
                cell.single.append(bench.plain(cell.width, processes=1))
            ours, trials = bench.service(cell.width, population, post)
            cell.ours.append(ours)
            say(f"  width {cell.width}, population {population}: {ours:.1f} by {cell.plain[-1]:.1f}, {trials} trials")
    for cell in cells:
        if not cell.engine:  # shown beside, once: nothing is promised of it
            cell.engine.append(bench.engine(cell.width, population, expected=cell.ours[-1]))


def task(bench: Bench, *, full: bool) -> Task:
    """Say what the other peers are to run."""
    protocol = bench.protocol
    trials = {width: max(CORES, round(bench.rates[width] * protocol.peer_seconds)) for width in protocol.beside}
    return Task(trials, bench.ways, protocol.epochs, protocol.ray_trials, full)


def median(values: Iterable[float]) -> float | None:
    """Return the median, None of nothing."""
    found = list(values)
    return statistics.median(found) if found else None


def best(cells: Sequence[Cell], width: int) -> float | None:
    """Return the ratio of the best population at a width."""
    ratios = [cell.ratio for cell in cells if cell.width == width]
    return max((ratio for ratio in ratios if ratio is not None), default=None)


def promises(cells: Sequence[Cell], device: str) -> list[Promise]:
    """Compare with what is promised."""
    return [
        Promise(f"{device}, width {width}: times the trials/s of plain PyTorch", best(cells, width), target)
        for width, target in TARGETS[device].items()
    ]


def crossovers(cells: Sequence[Cell]) -> Iterator[str]:
    """Say for each population at which width it no longer wins."""
    for population in dict.fromkeys(cell.population for cell in cells):
        here = [cell for cell in cells if cell.population == population]
        lost = [cell.width for cell in here if cell.ratio is not None and cell.ratio < 1]
        yield f"  population {population}: " + (
            f"loses at width {', '.join(map(str, lost))}" if lost else "wins at every width"
        )


def show_cells(cells: Sequence[Cell]) -> str:
    """Write the table."""
    heads = ("width", "population", "trials/s", "engine alone", "plain PyTorch", "one process", "ratio")
    rows = [
        (
            cell.width,
            cell.population,
            *(median(each) for each in (cell.ours, cell.engine, cell.plain, cell.single)),
            None if cell.ratio is None else f"{cell.ratio:.2f}",
        )
        for cell in sorted(cells, key=lambda cell: (cell.width, cell.population))
    ]
    return table(heads, rows)


def say(text: str) -> None:
    """Tell who waits."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.population", description=__doc__.partition("\n")[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="size", const="quick", help="within 2 minutes")
    size.add_argument("--full", action="store_const", dest="size", const="full", help="more populations and repeats")
    parser.add_argument("--device", choices=TARGETS, default="gpu" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true", help="end with one line for programs")
    given = parser.parse_args()
    size_name = given.size or "standard"
    protocol = PROTOCOLS[size_name]
    began = time.monotonic()
    with hands(CORES) as processes:
        bench = Bench(protocol, processes, given.device)
        cells = measure(bench)
        others = list(population_peers.others(processes, task(bench, full=size_name == "full")))
    made = promises(cells, given.device)
    machine = (
        f"{CORES} cores, load {os.getloadavg()[2]:.1f}, Python {platform.python_version()}, torch {torch.__version__}"
    )
    ways = ", ".join(f"{width} {way}" for width, way in bench.ways.items())
    print(f"population ({size_name}, {given.device}): digits, MLP, {protocol.epochs} epochs, trials a second")
    print(
        f"{machine}; {len(cells[0].ours)} repeats in {time.monotonic() - began:.0f} s; torch.optim by width: {ways}\n"
    )
    print(show_cells(cells), *crossovers(cells), "", show_others(others), show(made), sep="\n")
    if given.json:
        shown = [{**asdict(cell), "ratio": cell.ratio} for cell in cells]
        peers = [asdict(other) for other in others]
        more = {"size": size_name, "device": given.device, "machine": machine, "ways": bench.ways}
        print(line("population", made, **more, cells=shown, peers=peers))


if __name__ == "__main__":
    main()
