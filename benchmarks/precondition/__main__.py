"""How long a step of each preconditioner takes and what memory it wants, beside its peers: `python -m benchmarks.precondition`.

Whole training steps, float32, one thread (on a GPU where there is one). Contenders of a family take turns within a round,
each figure is the least over rounds, and a ratio above 1 means that ours is the faster one. Memory is the peak of a fresh
process that takes the same steps, less that of plain SGD (on a GPU the allocator's own peak). The promise counts at equal
interval, 1 and 10, on both networks: the geometric mean of the best peer's time over ours.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.precondition.contenders import FAMILIES, Step, known, missing, sgd, tried
from benchmarks.precondition.steps import GRIDS, SEEDS, TARGET, best
from benchmarks.promises import Promise, line, show, table
from optim.precondition.methods import METHODS
from training.meter import begin_measuring, peak_memory

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BATCH, CLASSES = 128, 10
INTERVALS = (1, 10, 30)
PROMISED = (1, 10)
ROUNDS = {"quick": 2, "standard": 5, "full": 15}
ROUND_SECONDS = 0.25
# Not slower, but for what two measurements of one and the same step differ by here.
NOT_SLOWER = 0.95
MEMORY_STEPS = 4


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds of one step of each contender of a family at an interval, and of plain SGD."""

    family: str
    network: str
    interval: int
    times: Mapping[str, float]

    @property
    def best_peer(self) -> float:
        return min((each for name, each in self.times.items() if name not in {"ours", "sgd"}), default=math.nan)


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "cnn":
        body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 16, CLASSES),
        )  # fmt: skip
    else:
        width = int(name.removeprefix("mlp"))
        body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, CLASSES)
        )
    return body.to(DEVICE)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(BATCH, 1, 8, 8, generator=generator)
    return inputs.to(DEVICE), torch.randint(CLASSES, (BATCH,), generator=generator).to(DEVICE)


def timed(family: str, name: str, interval: int, size: str) -> Timed:
    """Time the contenders of a family, in turns."""
    given = batch()
    made = {
        who: tried(make, network(name), interval, *given)
        for who, make in {"sgd": sgd, **known(family, compiled=size == "full")}.items()
    }
    if made["ours"] is None:
        raise RuntimeError(f"{family} takes no step on {name}")
    steps = {who: step for who, step in made.items() if step is not None}
    taken: dict[str, list[float]] = {who: [] for who in steps}
    for place in range(ROUNDS[size]):
        names = list(steps)
        for who in names[place % len(names) :] + names[: place % len(names)]:
            try:
                taken[who].append(_seconds(steps[who], interval, given))
            except Exception:
                if who in {"ours", "sgd"}:
                    raise
                del steps[who], taken[who]  # a peer that breaks on the way has no figure
    return Timed(family, name, interval, {who: 1e3 * min(each) for who, each in taken.items()})


def _seconds(step: Step, interval: int, given: tuple[Tensor, Tensor]) -> float:
    """Return the seconds of a step, over whole intervals."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < ROUND_SECONDS or count == 0:
        for _ in range(max(interval, 5)):
            step(*given)
        count += max(interval, 5)
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def memory(family: str, who: str, name: str) -> float | None:
    """Return the peak in megabytes of a fresh process in which a contender takes some steps; None if it breaks."""
    command = [sys.executable, "-m", "benchmarks.precondition", "--one", family, who, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(json.loads(done.stdout.splitlines()[-1])) if done.returncode == 0 and done.stdout.strip() else None


def one(family: str, who: str, name: str) -> float | None:
    """Take some steps as a process of its own."""
    make = sgd if who == "sgd" else known(family)[who]
    step = tried(make, network(name), 1, *batch())
    if step is None:
        return None
    begin_measuring(DEVICE)
    for _ in range(MEMORY_STEPS):
        step(*batch())
    return peak_memory(DEVICE)


def promises(found: Sequence[Timed]) -> list[Promise]:
    """Compare each family with its best peer, where there is one."""
    made = []
    for family in FAMILIES:
        own = [each for each in found if each.family == family and each.interval in PROMISED]
        ratios = [each.best_peer / each.times["ours"] for each in own if math.isfinite(each.best_peer)]
        if ratios:
            mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
            made.append(Promise(f"{family}: best peer's step over ours", mean, NOT_SLOWER))
    return made


def report(found: Sequence[Timed], weights: Mapping[tuple[str, str], float | None], base: float | None) -> str:
    """Write the times and the memory."""
    rows = []
    for each in found:
        ratio = each.best_peer / each.times["ours"] if "ours" in each.times else math.nan
        shown = [f"{who} {ms:.2f}" for who, ms in each.times.items()]
        rows.append([each.family, each.network, str(each.interval), f"{ratio:.2f}", ", ".join(shown)])
    parts = [table(["family", "network", "interval", "best peer/ours", "milliseconds a step"], rows)]
    if weights:
        lines = [
            [family, who, "-" if own is None or base is None else f"{own - base:.1f}"]
            for (family, who), own in weights.items()
        ]
        parts.append(table(["family", "who", "MB over SGD"], lines))
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precondition", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="size", const="quick", default="standard")
    size.add_argument("--full", action="store_const", dest="size", const="full")
    parser.add_argument("--json", action="store_true", help="end with one line for programs")
    parser.add_argument("--only", nargs="*", default=list(FAMILIES))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.one:
        print(json.dumps(one(*asked.one)))
        return
    networks = ["mlp64"] if asked.size == "quick" else ["mlp64", "mlp512", "cnn"]
    found = [
        timed(family, name, interval, asked.size)
        for family in asked.only
        for name in networks
        for interval in INTERVALS
    ]
    weights = {
        (family, who): memory(family, who, "mlp512")
        for family in asked.only
        for who in known(family, compiled=asked.size == "full")
    }
    print(f"torch {torch.__version__} on {DEVICE}, one thread; not installed: {', '.join(missing()) or 'none'}")
    print(report(found, weights, memory("kfac", "sgd", "mlp512")))
    reached = {name: best(name, SEEDS[asked.size]) for name in GRIDS}
    rows = [
        [name, f"{steps:g}", ", ".join(f"{key} {value:g}" for key, value in at.items())]
        for name, (steps, at) in reached.items()
    ]
    print(table(["ill-conditioned MLP", f"steps to a loss of {TARGET:g}", "best of the grid"], rows))
    made = promises(found)
    ahead = min(steps for name, (steps, _) in reached.items() if name in METHODS)
    made.append(Promise("steps to a loss: tuned SGD over the best preconditioner", reached["momentum"][0] / ahead, 2.0))
    print(show(made))
    if asked.json:
        print(line("precondition", made))


if __name__ == "__main__":
    main()
