"""How many trials a second go through the ledger, in how many SQL statements: `python -m benchmarks.ledger --json`.

A trial of five parameters does nothing but be claimed, report (ten times, or not at all) with the pruning decision read
after every report, and be finished. Ours and the peer's runs take turns, with the same number of worker processes on
the same server, so that a machine that slows down slows both. Figures are medians over the repeats; the ratio is that
of the medians.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from types import ModuleType
from typing import Any

from benchmarks import ledger_tuneup
from benchmarks.hands import Hands, Share, hands
from benchmarks.promises import Promise, line, show, table
from benchmarks.servers import Fresh, describe, postgres_server, sqlite_file
from tests.support.postgres import fresh_database

REPORTS = (10, 0)
CAPACITY = 16


@dataclass(frozen=True, slots=True)
class Protocol:
    """How much is measured: trials of a run by what it reports, for us, for us at capacity 1, and for the peer."""

    workers: tuple[int, ...]
    repeats: int
    ours: Mapping[int, int]
    single: Mapping[int, int]
    peer: Mapping[int, int]


PROTOCOLS: Mapping[str, Protocol] = {
    "quick": Protocol((2, 8), 1, ours={10: 1024, 0: 2048}, single={10: 64, 0: 192}, peer={10: 32, 0: 96}),
    "standard": Protocol((1, 2, 4, 8), 3, ours={10: 2048, 0: 4096}, single={10: 96, 0: 384}, peer={10: 64, 0: 160}),
    "full": Protocol((1, 2, 4, 8), 5, ours={10: 4096, 0: 8192}, single={10: 256, 0: 1024}, peer={10: 160, 0: 400}),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One run, or the medians of several: trials a second, SQL statements a trial, and errors of the storage."""

    rate: float
    statements: float
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table: our figures, ours with trials claimed one by one, and the peer's (None: not there)."""

    database: str
    workers: int
    reports: int
    ours: Figure
    single: Figure
    peer: Figure | None

    @property
    def ratio(self) -> float | None:
        """Our rate by the peer's."""
        return self.ours.rate / self.peer.rate if self.peer is not None else None


def measure(protocol: Protocol, places: Mapping[str, Fresh], peer: ModuleType | None) -> list[Cell]:
    """Run the protocol on each database."""
    runs: dict[tuple[str, int, int], list[tuple[Figure, Figure, Figure | None]]] = {}
    with hands(max(protocol.workers)) as processes:
        for repeat in range(protocol.repeats):
            for database, fresh in places.items():
                for workers, reports, figures in _pass(protocol, processes, fresh, peer):
                    runs.setdefault((database, workers, reports), []).append(figures)
                    print(f"  run {repeat + 1} {database} {workers} {reports}: {figures[0]}", file=sys.stderr)
    return [Cell(*key, *(_median(column) for column in zip(*figures, strict=True))) for key, figures in runs.items()]


def _pass(
    protocol: Protocol, processes: Hands, fresh: Fresh, peer: ModuleType | None
) -> Iterator[tuple[int, int, tuple[Figure, Figure, Figure | None]]]:
    """Measure every cell of one database once, ours and the peer's runs in turn."""
    with fresh() as ours, fresh() as theirs:
        ledger_tuneup.setup(ours)
        if peer is not None:
            peer.setup(theirs)
        for workers in protocol.workers:
            for reports in REPORTS:
                run = partial(ledger_tuneup.run, processes, ours, workers=workers, reports=reports)
                trials, alone = protocol.ours[reports], protocol.single[reports]
                batched = _figure(run(trials=trials, capacity=CAPACITY), trials)
                other = _peer(protocol, processes, theirs, peer, workers=workers, reports=reports)
                single = _figure(run(trials=alone, capacity=1), alone)
                yield workers, reports, (batched, single, other)


def _peer(
    protocol: Protocol, processes: Hands, url: str, peer: ModuleType | None, *, workers: int, reports: int
) -> Figure | None:
    if peer is None:
        return None
    trials = protocol.peer[reports]
    shares = peer.run(processes, url, workers=workers, trials=trials, reports=reports)
    return _figure(shares, trials, errors=sum(share.said.errors for share in shares))


def _figure(shares: Sequence[Share], trials: int, *, errors: int = 0) -> Figure:
    seconds = max(share.ended for share in shares) - min(share.began for share in shares)
    return Figure(trials / seconds, sum(share.statements for share in shares) / trials, errors)


def _median(figures: Sequence[Figure | None]) -> Any:  # noqa: ANN401  a figure, or None where there is no peer
    there = [figure for figure in figures if figure is not None]
    if not there:
        return None
    return Figure(
        rate=statistics.median(figure.rate for figure in there),
        statements=statistics.median(figure.statements for figure in there),
        errors=sum(figure.errors for figure in there),
    )


def promises(cells: Sequence[Cell]) -> list[Promise]:
    """Compare with what is promised: over all numbers of workers the least favourable one counts."""
    made: list[Promise] = []
    for database in dict.fromkeys(cell.database for cell in cells):
        here = [cell for cell in cells if cell.database == database]
        for reports, target in ((10, 30.0), (0, 10.0)):
            ratios = [cell.ratio for cell in here if cell.reports == reports]
            least = min((ratio for ratio in ratios if ratio is not None), default=None)
            made.append(Promise(f"{database}: times the peer's trials/s, {reports} measurements", least, target))
        most = max(cell.ours.statements for cell in here if cell.reports == 10)
        made.append(Promise(f"{database}: SQL statements a trial, 10 measurements", most, 6.0, at_most=True))
        for reports in REPORTS:
            rates = {cell.workers: cell.ours.rate for cell in here if cell.reports == reports}
            made.append(Promise(f"{database}: 8 workers by 2, {reports} measurements", rates[8] / rates[2], 0.9))
    return made


def show_cells(cells: Sequence[Cell]) -> str:
    """Write the table."""
    heads = ("database", "workers", "reports", "trials/s", "SQL", "peer's", "its SQL", "its errors", "ratio")
    rows = [
        (
            cell.database,
            cell.workers,
            cell.reports,
            cell.ours.rate,
            cell.ours.statements,
            *((cell.peer.rate, cell.peer.statements, cell.peer.errors) if cell.peer else (None, None, None)),
            cell.ratio,
            cell.single.rate,
            cell.single.statements,
        )
        for cell in cells
    ]
    return table((*heads, "one by one", "SQL"), rows)


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
        cells = measure(PROTOCOLS[size_name], places, peer)
    seconds = time.monotonic() - began
    made = promises(cells)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"ledger ({size_name}): trials that do nothing, claimed {CAPACITY} at a time, beside {peer_name}")
    print(f"{databases}; {machine}; {PROTOCOLS[size_name].repeats} repeats, {seconds:.0f} s\n")
    print(show_cells(cells), "", show(made), sep="\n")
    if arguments.json:
        shown = [{**asdict(cell), "ratio": cell.ratio} for cell in cells]
        print(line("ledger", made, size=size_name, peer=peer_name, databases=databases, machine=machine, cells=shown))


if __name__ == "__main__":
    main()
