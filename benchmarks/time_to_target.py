"""How long until a study has found a configuration near the best known one: `python -m benchmarks.time_to_target --json`.

The target is an accuracy within one percent of the best known. An MLP on digits; optimizer, rate, warm-up, momentum and batch size are searched,
with successive halving. Ours is a POST to a running service until its /best, looked at every 50 ms, reaches the target;
the peer is Optuna over a SQLite file with one process per core that trains in plain PyTorch, until its storage holds such
a trial. Both are started and warm before the clock starts, and take turns, seed by seed. `--best` looks for the best
known value anew.
"""

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import httpx2
import torch

from benchmarks import target_optuna
from benchmarks.embedded import post, served
from benchmarks.hands import Hands, hands
from benchmarks.intervals import Interval, median_interval
from benchmarks.optuna_torch import NAME
from benchmarks.plain_torch import faster_way
from benchmarks.promises import Promise, line, show, table
from benchmarks.target_trials import BEST_KNOWN, HIDDEN, METRIC, SHARE, TARGET, prepare_random, study

CORES = os.cpu_count() or 1
LOOK_SECONDS = 0.05
LEAST_RATIO = 5.0
# The pairs that are compared, ours and the peer's: the first is what we recommend, and what is promised of.
PAIRS: Mapping[str, str] = {"bayesian": "TPE", "random": "random"}
BEST_TRIALS, BEST_SEED = 600, 9_000
FIRST_SEED = 1


@dataclass(frozen=True, slots=True)
class Protocol:
    """How many seeds, which pairs, and the seconds after which a run is given up, to count as that long."""

    seeds: int
    pairs: tuple[str, ...]
    seconds: float
    limit: float


PROTOCOLS: Mapping[str, Protocol] = {
    "quick": Protocol(3, ("bayesian",), 30, 70),
    "standard": Protocol(10, ("bayesian", "random"), 90, 1000),
    "full": Protocol(30, ("bayesian", "random"), 300, 14400),
}


@dataclass(slots=True)
class Pair:
    """The seconds of our strategy and of the peer's sampler, seed by seed; `given_up` counts runs without success."""

    strategy: str
    sampler: str
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    given_up: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def ratios(self) -> list[float]:
        """How many times as long the peer took, for each seed."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def interval(self) -> Interval:
        """Where the median ratio lies."""
        return median_interval(self.ratios)

    def take(self, ours: float | None, theirs: float | None, *, seconds: float) -> None:
        """Add a seed; None is a run that was given up after `seconds`."""
        self.given_up = [count + (each is None) for count, each in zip(self.given_up, (ours, theirs), strict=True)]
        self.ours.append(seconds if ours is None else ours)
        self.theirs.append(seconds if theirs is None else theirs)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run of anything needs; `way` is how the peer's torch.optim is faster."""

    protocol: Protocol
    hands: Hands
    client: httpx2.Client
    way: str


def measure(bench: Bench) -> list[Pair]:
    """Run the protocol; fewer seeds where another one would not end within its limit."""
    protocol = bench.protocol
    pairs = [Pair(strategy, PAIRS[strategy]) for strategy in protocol.pairs]
    for strategy in protocol.pairs:
        ours(bench, strategy, seed=0, seconds=5)  # so that the trainers are warm as well
    began = time.monotonic()
    for place in range(protocol.seeds):
        if (time.monotonic() - began) * (place + 1) > protocol.limit * max(place, 1):
            break
        for pair in pairs:
            _measure(bench, pair, FIRST_SEED + place)
    return pairs


def _measure(bench: Bench, pair: Pair, seed: int) -> None:
    """Run both sides, in turns who is first."""
    seconds = bench.protocol.seconds
    sides: dict[str, Callable[[], float | None]] = {
        "ours": partial(ours, bench, pair.strategy, seed=seed, seconds=seconds),
        "theirs": partial(theirs, bench, pair.sampler, seed=seed, seconds=seconds),
    }
    taken = {name: sides[name]() for name in (sides if seed % 2 else reversed(sides))}
    pair.take(taken["ours"], taken["theirs"], seconds=seconds)
    say(f"  seed {seed}: {pair.strategy} {pair.ours[-1]:.2f} s, {pair.sampler} {pair.theirs[-1]:.2f} s")


def ours(bench: Bench, strategy: str, *, seed: int, seconds: float) -> float | None:
    """Return the seconds from the POST until /best reaches the target, None if it does not in `seconds`."""
    client, began = bench.client, time.monotonic()
    study_id = post(client, study(seed, strategy=strategy))
    reached = None
    while reached is None and time.monotonic() - began < seconds:
        reply = client.get(f"/studies/{study_id}/best")
        if reply.status_code == 200 and reply.json()["values"][METRIC] >= TARGET:
            reached = time.monotonic() - began
        else:
            time.sleep(LOOK_SECONDS)
    _end(client, study_id)
    return reached


def _end(client: httpx2.Client, study_id: str) -> None:
    """Cancel a study and wait until nothing of it runs any more."""
    client.post(f"/studies/{study_id}:cancel")
    while client.get(f"/studies/{study_id}").json()["progress"]["running"]:
        time.sleep(LOOK_SECONDS)


def theirs(bench: Bench, sampler: str, *, seed: int, seconds: float) -> float | None:
    """Return the peer's seconds, None if it does not reach the target in `seconds`."""
    return target_optuna.run(bench.hands, sampler=sampler, seed=seed, processes=CORES, seconds=seconds, way=bench.way)


def promises(pairs: Sequence[Pair]) -> list[Promise]:
    """Compare with what is promised of the strategy that we recommend."""
    pair = pairs[0]
    name = f"{pair.strategy}: times as fast as {pair.sampler} to the target, median"
    return [Promise(name, statistics.median(pair.ratios), LEAST_RATIO)]


def show_pairs(pairs: Sequence[Pair]) -> str:
    """Write the table."""
    rows = [
        (
            f"{pair.strategy}, asha",
            statistics.median(pair.ours),
            pair.given_up[0],
            f"{pair.sampler}, halving",
            statistics.median(pair.theirs),
            pair.given_up[1],
            f"{statistics.median(pair.ratios):.2f}",
            f"{pair.interval.low:.2f} to {pair.interval.high:.2f} ({100 * pair.interval.confidence:.0f} %)",
        )
        for pair in pairs
    ]
    return table(("ours", "median s", "given up", "peer", "median s", "given up", "ratio", "interval"), rows)


def show_best(trials: int) -> str:
    """Train a random study to its end, and say what is the best, and what a target of it would ask for."""
    with hands(CORES) as processes:
        processes.ready(CORES, prepare_random, trials, CORES, BEST_SEED)
        finals = [values for share in processes.go(CORES) for values in share.said]
    accuracies = sorted((values[METRIC] for values in finals), reverse=True)
    target = SHARE * accuracies[0]
    reached = sum(accuracy >= target for accuracy in accuracies)
    counts = [f"{round(360 * accuracy)}: {accuracies.count(accuracy)}" for accuracy in dict.fromkeys(accuracies[:60])]
    return (
        f"{trials} random trials, {len(finals)} completed; best {METRIC} {accuracies[0]:.4f} (recorded: "
        f"{BEST_KNOWN:.4f})\n{reached} of them reach {target:.4f}, so one in {trials / reached:.0f}; "
        f"{sum(accuracy >= TARGET for accuracy in accuracies)} reach the recorded target {TARGET:.4f}\n"
        f"right of 360, the best: {', '.join(counts)}"
    )


def say(text: str) -> None:
    """Tell who waits."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.time_to_target", description=__doc__.partition("\n")[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="size", const="quick", help="3 seeds, within 2 minutes")
    size.add_argument("--full", action="store_const", dest="size", const="full", help="30 seeds")
    size.add_argument("--best", type=int, nargs="?", const=BEST_TRIALS, metavar="TRIALS", help="find the best anew")
    parser.add_argument("--json", action="store_true", help="end with one line for programs")
    given = parser.parse_args()
    if given.best:
        print(show_best(given.best))
        return
    size_name = given.size or "standard"
    began = time.monotonic()
    with hands(CORES) as processes, served(workers=CORES) as client:
        bench = Bench(PROTOCOLS[size_name], processes, client, faster_way(HIDDEN))
        pairs = measure(bench)
    made = promises(pairs)
    machine = (
        f"{CORES} cores, load {os.getloadavg()[2]:.1f}, Python {platform.python_version()}, torch {torch.__version__}"
    )
    print(
        f"time_to_target ({size_name}): seconds to {METRIC} >= {TARGET:.4f}, beside {NAME}, SQLite, {CORES} processes"
    )
    print(f"{machine}; torch.optim {bench.way}; {len(pairs[0].ours)} seeds in {time.monotonic() - began:.0f} s\n")
    print(show_pairs(pairs), "", show(made), sep="\n")
    if given.json:
        shown = [{**asdict(pair), "ratios": pair.ratios, "interval": asdict(pair.interval)} for pair in pairs]
        print(
            line(
                "time_to_target",
                made,
                size=size_name,
                machine=machine,
                way=bench.way,
                peer=NAME,
                target=TARGET,
                pairs=shown,
            )
        )


if __name__ == "__main__":
    main()
