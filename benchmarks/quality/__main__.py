"""How good the configurations are that a search finds: `python -m benchmarks.quality --json`.

Ours is a bayesian study as shipped; beside it Optuna's TPE and GP samplers with their defaults, and random search. They
search functions with known minima and recorded tables of real training (docs/tables.md), one trial at a time and with
eight in parallel. Printed is the median regret after 25, 50 and 100 trials, of the point that looked best by then.

Every finished race is written down (`--keep`, a file of JSON lines) and not run again; delete the file after a change of
a sampler. What the peers came to is kept in the repository for the version of Optuna in constraints.txt, since their GP
sampler takes most of the time and a seed gives the same again; `--anew` races them here. `--full` is the whole
protocol, thirty seeds, and takes hours; it goes on where it was stopped.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import optuna

from benchmarks.promises import Promise, line, show, table
from benchmarks.quality.problems import functions, tables
from benchmarks.quality.race import LOOKS, Entry, run
from benchmarks.quality.samplers import SAMPLERS
from benchmarks.quality.verdicts import behind, medians, ranks

OURS = "tuneup"
PEERS = ("Optuna TPE", "Optuna GP")
KEPT = Path(__file__).parents[1] / "results" / "quality.jsonl"
RECORDED = Path(__file__).parent / f"optuna-{optuna.__version__}.jsonl"
FIRST_SEED = 1


@dataclass(frozen=True, slots=True)
class Part:
    """Problems that are raced with so many seeds, so many trials at a time."""

    problems: Sequence[str]
    seeds: int
    parallel: int

    def entries(self) -> Iterator[Entry]:
        """Yield the races seed by seed, so that one that is stopped has as many of each sampler."""
        for seed in range(FIRST_SEED, FIRST_SEED + self.seeds):
            for name in self.problems:
                for sampler in SAMPLERS:
                    yield Entry(name, sampler, seed, self.parallel)


def protocols() -> Mapping[str, Sequence[Part]]:
    """Return what is raced, by how long one has."""
    every = [*tables(), *functions()]
    means = [name for name in tables() if "," not in name]
    return {
        "quick": [Part([means[0], "branin", "mixed"], 2, 1)],
        "standard": [Part(tables(), 10, 1), Part(means, 3, 8), Part(functions(), 5, 1)],
        "full": [Part(every, 30, 1), Part(every, 30, 8)],
    }


def races(
    entries: Sequence[Entry], kept: Path, *, seconds: float, recorded: Path = RECORDED
) -> dict[Entry, list[float]]:
    """Run what was neither run before nor `recorded`, as long as there is time, and return all that is known."""
    found = read(recorded) | read(kept)
    left = [entry for entry in entries if entry not in found]
    kept.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + seconds
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool, kept.open("a") as file:
        waiting = {pool.submit(run, entry): entry for entry in left}
        for done in as_completed(waiting):
            if done.cancelled():
                continue
            entry = waiting[done]
            found[entry] = done.result()
            print(json.dumps({**asdict(entry), "regrets": found[entry]}), file=file, flush=True)
            if time.monotonic() > end:
                pool.shutdown(wait=False, cancel_futures=True)
    return {entry: found[entry] for entry in entries if entry in found}


def read(kept: Path) -> dict[Entry, list[float]]:
    """Read the races that were written down."""
    if not kept.exists():
        return {}
    rows = [json.loads(text) for text in kept.read_text().splitlines()]
    return {Entry(row["problem"], row["sampler"], row["seed"], row["parallel"]): row["regrets"] for row in rows}


def promises(regrets: Mapping[Entry, Sequence[float]]) -> list[Promise]:
    """Compare: ahead of both peers in mean rank on the tables, not behind either on the functions."""
    place = ranks(regrets, tables())
    ahead = [
        Promise(f"mean rank on tables: {peer} less ours", place[peer] - place[OURS], 0.001)
        for peer in PEERS
        if {peer, OURS} <= place.keys()
    ]
    even = [
        Promise(f"not behind {peer} on functions: p", behind(regrets, functions(), OURS, peer), 0.05) for peer in PEERS
    ]
    return ahead + even


def report(regrets: Mapping[Entry, Sequence[float]]) -> str:
    """Write the medians, a line for each problem and sampler, and the mean ranks."""
    rows = [
        [f"{name} x{parallel}" if parallel > 1 else name, sampler, *(f"{value:.4g}" for value in found)]
        for (name, parallel, sampler), found in sorted(medians(regrets).items())
    ]
    shown = [table(["problem", "sampler", *(f"after {look}" for look in LOOKS)], rows)]
    for what, names in (("tables", tables()), ("functions", functions())):
        place = sorted(ranks(regrets, names).items(), key=lambda item: item[1])
        shown.append(f"mean rank on {what}: " + ", ".join(f"{sampler} {rank:.2f}" for sampler, rank in place))
    return "\n".join(shown)


def main() -> None:
    """Race, print what came out, and the line for programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", action="store_true", help="end with one line for programs")
    parser.add_argument("--keep", type=Path, default=KEPT)
    parser.add_argument("--anew", action="store_true", help="race the peers here, too")
    given = parser.parse_args()
    which = "full" if given.full else "quick" if given.quick else "standard"
    seconds = {"quick": 90.0, "standard": 1080.0, "full": 1e6}[which]
    entries = [entry for part in protocols()[which] for entry in part.entries()]
    nowhere = given.keep.with_name("none")
    regrets = races(entries, given.keep, seconds=seconds, recorded=nowhere if given.anew else RECORDED)
    found = promises(regrets)
    print(report(regrets))
    print(show(found))
    if given.json:
        print(line("quality", found, races=len(regrets), wanted=len(entries)))


if __name__ == "__main__":
    main()
