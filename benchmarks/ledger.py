"""How many trials a second go through the ledger, in how many SQL statements: `python -m benchmarks.ledger --json`.

A trial of five parameters does nothing but be claimed, report (ten times, or not at all) with the pruning decision read
after every report, and be finished. Ours and the peer's runs take turns, with the same number of worker processes on
the same server, so that a machine that slows down slows both: a ratio is always that of two runs next to each other,
and what is shown is the median of the repeats.
"""

import argparse
import importlib
import importlib.util
import os
import platform
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from types import ModuleType

from benchmarks import ledger_tuneup
from benchmarks.hands import Hands, Share, hands
from benchmarks.promises import Promise, line, show, table
from benchmarks.servers import Fresh, analyze, describe, postgres_server, sqlite_file
from tests.support.postgres import fresh_database

REPORTS = (10, 0)
CAPACITY = 16
FEW, MANY = 2, 8


@dataclass(frozen=True, slots=True)
class Protocol:
    """How much is measured. Trials of a run by how often they report: ours, ours claimed one by one, and the peer's.

    There are `repeats` repeats, or fewer where another one would not end within `seconds`.
    """

    workers: tuple[int, ...]
    repeats: int
    seconds: float
    ours: Mapping[int, int]
    single: Mapping[int, int]
    peer: Mapping[int, int]


PROTOCOLS: Mapping[str, Protocol] = {
    "quick": Protocol((2, 8), 1, 60, ours={10: 512, 0: 1024}, single={10: 16, 0: 64}, peer={10: 16, 0: 48}),
    "standard": Protocol(
        (1, 2, 4, 8), 3, 900, ours={10: 1024, 0: 2048}, single={10: 64, 0: 256}, peer={10: 48, 0: 128}
    ),
    "full": Protocol(
        (1, 2, 4, 8), 7, 7200, ours={10: 2048, 0: 4096}, single={10: 256, 0: 1024}, peer={10: 128, 0: 400}
    ),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One run: trials a second, SQL statements a trial, and errors of the storage."""

    rate: float
    statements: float
    errors: int = 0


@dataclass(slots=True)
class Cell:
    """All runs of one number of workers on one database, one of each kind for each repeat; the peer's may be missing."""

    database: str
    workers: int
    reports: int
    ours: list[Run] = field(default_factory=list)
    single: list[Run] = field(default_factory=list)
    peer: list[Run] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        """How many times the peer's trials a second ours are."""
        pairs = zip(self.ours, self.peer, strict=False)
        return _median(ours.rate / peer.rate for ours, peer in pairs)


@dataclass(frozen=True, slots=True)
class Scaling:
    """Our trials a second with MANY workers by those with FEW, once for each repeat."""

    database: str
    reports: int
    ratios: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run of anything needs."""

    protocol: Protocol
    hands: Hands
    peer: ModuleType | None

    def ours(self, url: str, workers: int, reports: int) -> Run:
        """Run our side, CAPACITY trials to a claim."""
        return self._ours(url, workers, reports, self.protocol.ours[reports], CAPACITY)

    def single(self, url: str, workers: int, reports: int) -> Run:
        """Run our side, one trial to a claim."""
        return self._ours(url, workers, reports, self.protocol.single[reports], 1)

    def _ours(self, url: str, workers: int, reports: int, trials: int, capacity: int) -> Run:
        run = partial(ledger_tuneup.run, self.hands, url, workers=workers, reports=reports)
        return _run(run(trials=trials, capacity=capacity), trials)

    def theirs(self, url: str, workers: int, reports: int) -> Iterable[Run]:
        """Run the peer's side, if it is there."""
        if self.peer is not None:
            trials = self.protocol.peer[reports]
            shares = self.peer.run(self.hands, url, workers=workers, trials=trials, reports=reports)
            yield _run(shares, trials, errors=sum(share.said.errors for share in shares))


def measure(
    protocol: Protocol, places: Mapping[str, Fresh], peer: ModuleType | None
) -> tuple[list[Cell], list[Scaling]]:
    """Run the protocol on each database."""
    cells = [Cell(name, workers, reports) for name in places for workers in protocol.workers for reports in REPORTS]
    scalings = [Scaling(name, reports) for name in places for reports in REPORTS]
    began = time.monotonic()
    with hands(max(protocol.workers)) as processes:
        bench = Bench(protocol, processes, peer)
        for repeat in range(protocol.repeats):
            if (time.monotonic() - began) * (repeat + 1) > protocol.seconds * max(repeat, 1):
                break
            for name, fresh in places.items():
                with fresh() as url, fresh() as theirs:
                    _prepare(bench, url, theirs)
                    _measure_cells(bench, [cell for cell in cells if cell.database == name], url, theirs)
                    _measure_scaling(bench, [each for each in scalings if each.database == name], url, repeat)
    return cells, scalings


def _prepare(bench: Bench, url: str, theirs: str) -> None:
    """Make the tables of both sides, fill each by a run as they are measured, and let the database look at them."""
    ledger_tuneup.setup(url)
    bench.ours(url, FEW, max(REPORTS))
    analyze(url)
    if bench.peer is not None:
        bench.peer.setup(theirs)
        list(bench.theirs(theirs, FEW, max(REPORTS)))
        analyze(theirs)


def _measure_cells(bench: Bench, cells: Sequence[Cell], url: str, theirs: str) -> None:
    for cell in cells:
        at = cell.workers, cell.reports
        cell.ours.append(bench.ours(url, *at))
        cell.peer.extend(bench.theirs(theirs, *at))
        cell.single.append(bench.single(url, *at))
        print(f"  {cell.database}, {cell.workers} workers, {cell.reports} reports: {cell.ours[-1]}", file=sys.stderr)


def _measure_scaling(bench: Bench, scalings: Sequence[Scaling], url: str, repeat: int) -> None:
    for scaling in scalings:
        order = (FEW, MANY) if repeat % 2 == 0 else (MANY, FEW)
        rates = {workers: bench.ours(url, workers, scaling.reports).rate for workers in order}
        scaling.ratios.append(rates[MANY] / rates[FEW])


def _run(shares: Sequence[Share], trials: int, *, errors: int = 0) -> Run:
    seconds = max(share.ended for share in shares) - min(share.began for share in shares)
    return Run(trials / seconds, sum(share.statements for share in shares) / trials, errors)


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.median(found) if found else None


def promises(cells: Sequence[Cell], scalings: Sequence[Scaling]) -> list[Promise]:
    """Compare with what is promised: over all numbers of workers the least favourable one counts."""
    made: list[Promise] = []
    for database in dict.fromkeys(cell.database for cell in cells):
        here = [cell for cell in cells if cell.database == database]
        for reports, target in ((10, 30.0), (0, 10.0)):
            ratios = [cell.ratio for cell in here if cell.reports == reports]
            least = min((ratio for ratio in ratios if ratio is not None), default=None)
            made.append(Promise(f"{database}: times the peer's trials/s, {reports} measurements", least, target))
        most = max(run.statements for cell in here if cell.reports == 10 for run in cell.ours)
        made.append(Promise(f"{database}: SQL statements a trial, 10 measurements", most, 6.0, at_most=True))
        made += [
            Promise(
                f"{database}: {MANY} workers by {FEW}, {scaling.reports} measurements", _median(scaling.ratios), 0.9
            )
            for scaling in scalings
            if scaling.database == database
        ]
    return made


def show_cells(cells: Sequence[Cell]) -> str:
    """Write the table."""
    heads = ("database", "workers", "reports", "trials/s", "SQL", "peer's", "its SQL", "its errors", "ratio")
    rows = [
        (
            cell.database,
            cell.workers,
            cell.reports,
            *_shown(cell.ours),
            *_shown(cell.peer),
            sum(run.errors for run in cell.peer) if cell.peer else None,
            cell.ratio,
            *_shown(cell.single),
        )
        for cell in cells
    ]
    return table((*heads, "one by one", "SQL"), rows)


def _shown(runs: Sequence[Run]) -> tuple[float | None, float | None]:
    return _median(run.rate for run in runs), _median(run.statements for run in runs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=__doc__.partition("\n")[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="size", const="quick", help="within 2 minutes")
    size.add_argument("--full", action="store_const", dest="size", const="full", help="more trials and repeats")
    parser.add_argument("--json", action="store_true", help="end with one line for programs")
    arguments = parser.parse_args()
    size_name = arguments.size or "standard"
    found = importlib.util.find_spec("optuna") is not None
    peer = importlib.import_module("benchmarks.ledger_optuna") if found else None
    peer_name = peer.NAME if peer is not None else "Optuna (not installed: not measured)"
    began = time.monotonic()
    with postgres_server() as server:
        places: dict[str, Fresh] = {"postgresql": partial(fresh_database, server), "sqlite": sqlite_file}
        databases = f"{describe(server)}; SQLite {sqlite3.sqlite_version}"
        cells, scalings = measure(PROTOCOLS[size_name], places, peer)
    made = promises(cells, scalings)
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[2]:.1f}, Python {platform.python_version()}"
    repeats = f"{len(cells[0].ours)} repeats in {time.monotonic() - began:.0f} s"
    print(f"ledger ({size_name}): trials that do nothing, claimed {CAPACITY} at a time, beside {peer_name}")
    print(f"{databases}; {machine}; {repeats}\n")
    print(show_cells(cells), "", show(made), sep="\n")
    if arguments.json:
        print(
            line(
                "ledger",
                made,
                size=size_name,
                peer=peer_name,
                databases=databases,
                machine=machine,
                cells=[{**asdict(cell), "ratio": cell.ratio} for cell in cells],
                scalings=[asdict(scaling) for scaling in scalings],
            )
        )


if __name__ == "__main__":
    main()
