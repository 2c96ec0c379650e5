"""What margin lists save on wide two-layer networks, and where they lose: `python -m benchmarks.sparse --json`.

Our trainer held to lists, held to ways without them, and free to choose, beside three dense forms in torch: a module with
autograd and torch.optim.SGD, two matrix products by hand, one matrix product with a sparse backward. All take the same
steps from the same weights, and their losses are compared. A gain is the time of the best dense form over ours; `bound` is
that of a dense form that no one has: two matrix products in the cache, and nothing else.

Single steps are the medians of blocks, in turns; on one thread its processor time counts. Whole trainings include the
building of lists. On one thread and, of some of the steps (`--full`: of everything), on all; `--threads N` takes N alone.
"""

import argparse
import os
from collections.abc import Iterator, Sequence

import torch

from benchmarks.promises import Promise, line, show, table
from benchmarks.sparse.growth import Grown, exponent, grown
from benchmarks.sparse.runs import DENSE, DIGITS, LOSING, Case, Trained, trained
from benchmarks.sparse.steps import BATCHES, Place, Timed, timed
from optim.sparse.kernels.choice import COMPILED

ROUNDS = {"quick": 3, "standard": 7, "full": 9}
FEATURES = (16, 64, 256)
WIDTHS = (10_000, 100_000, 1_000_000)
# At the width and the features that the promise of steps is about.
PROMISED = (64, 100_000)
# Two measurements of one and the same training differ by as much here.
NEAR = 0.9


def places(size: str, threads: Sequence[int]) -> Iterator[Place]:
    """Yield where steps are timed: with more threads than one, and not in full, at the promised place alone."""
    for each in threads:
        for width in WIDTHS:
            for features in FEATURES:
                told = (features, width) == PROMISED
                wanted = {
                    "quick": told or (features, width) == (64, 10_000),
                    "standard": told or (each == threads[0] and (width < WIDTHS[-1] or features == PROMISED[0])),
                    "full": True,
                }[size]
                for batch in BATCHES if wanted else ():
                    yield Place(features, width, batch, each)


def cases(size: str) -> tuple[list[Case], dict[str, Case]]:
    """Return the trainings, and those that lists are to lose."""
    if size == "quick":
        return [case for case in DIGITS if case.width == 20_000], {"narrow": LOSING["narrow"]}
    return DIGITS, dict(LOSING)


def step_rows(found: Sequence[Timed]) -> str:
    """Write the steps."""
    heads = ("d", "m", "B", "threads", "lists", "without", "auto", "autograd", "by hand", "sparse backward", "fused",
             "gain", "bound", "choice", "chosen", "apart")  # fmt: skip
    rows = [
        (each.place.features, each.place.width, each.place.batch, each.place.threads,
         *(f"{ms:.3g}" for ms in each.times.values()), f"{each.gain:.1f}", f"{each.bound:.1f}", f"{each.choice:.2f}",
         each.chosen, f"{each.apart:.0e}")
        for each in found
    ]  # fmt: skip
    return "Milliseconds of one step\n" + table(heads, rows)


def run_rows(found: Sequence[tuple[str, Trained]]) -> str:
    """Write the trainings."""
    heads = ("training", "m", "B", "rate", "epochs", "threads", "lists s", "built s", "auto s", "dense s", "gain",
             "gain of auto", "choice", "chosen", "slack", "refreshed", "accuracies", "apart", "dense form")  # fmt: skip
    rows = [
        (name, each.case.width, each.case.batch, f"{each.case.lr:g}", each.case.epochs, each.threads,
         *(f"{value:.2f}" for value in (each.seconds["lists"], each.building, each.seconds["auto"],
                                        each.seconds[DENSE], each.gain, each.gain_chosen, each.choice)),
         each.chosen, f"{each.slack:g}", f"{each.refreshed:.3f}",
         " ".join(f"{value:.3f}" for value in each.accuracies.values()), f"{each.apart:.0e}", each.form)
        for name, each in found
    ]  # fmt: skip
    return "Whole trainings\n" + table(heads, rows)


def growth_rows(found: Sequence[Grown]) -> str:
    """Write how lists grow."""
    rows = [
        (each.width, each.active, each.candidates, f"{each.candidates / each.width:.4f}", f"{each.bytes / 2**20:.0f}")
        for each in found
    ]
    return "Lists as built\n" + table(("m", "active", "candidates", "share", "MiB"), rows)


def promises(
    steps: Sequence[Timed], runs: Sequence[Trained], others: Sequence[Trained], lists: Sequence[Grown]
) -> list[Promise]:
    """Compare what was found with what is asked."""
    told = [each for each in steps if (each.place.features, each.place.width) == PROMISED]
    wide = [each.gain_chosen for each in runs if each.case.width == PROMISED[1]]
    apart = [each.apart for each in steps] + [each.apart for each in runs]
    accuracies = [value for each in runs for value in each.accuracies.values()]
    return [
        *(Promise(f"steps at m = 10^5, d = 64, threads {count}: dense over lists, least over B",
                  min(each.gain for each in told if each.place.threads == count), 3.0)
          for count in sorted({each.place.threads for each in told})),
        Promise("trainings on digits at m = 10^5: dense over auto, least", min(wide, default=None), 2.0),
        Promise("steps: the better of lists and dense over auto, least", min(each.choice for each in steps), NEAR),
        Promise("trainings: the same", min(each.choice for each in (*runs, *others)), NEAR),
        Promise("digits: least test accuracy", min(accuracies), 0.98),
        Promise("candidates grow as m to the power", exponent(lists), 0.85, at_most=True),
        Promise("greatest difference of losses, in 1e-4", 1e4 * max(apart), 1.0, at_most=True),
    ]  # fmt: skip


def measured_steps(size: str, threads: Sequence[int]) -> list[Timed]:
    """Time the steps that there is memory for."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    found = []
    for place in places(size, threads):
        if place.bytes > there:
            print(f"left out for want of memory: {place}")
            continue
        torch.set_num_threads(place.threads)
        found.append(timed(place, ROUNDS[size]))
    return found


def measured_runs(size: str, threads: Sequence[int]) -> tuple[list[Trained], list[tuple[str, Trained]]]:
    """Train the cases of digits, and those that lists are to lose."""
    digits, losing = cases(size)
    runs, others = [], []
    for each in threads if size == "full" else threads[:1]:
        torch.set_num_threads(each)
        runs += [trained(case, each) for case in digits]
        others += [(name, trained(case, each)) for name, case in losing.items()]
    return runs, others


def compile_loops(threads: int) -> None:
    """Have every loop called once, those that refresh lists among them."""
    timed(Place(8, 100, 2, threads), 1)
    trained(Case("random", 300, 16, 200.0, 1), threads)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sparse", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="size", const="quick", default="standard")
    size.add_argument("--full", action="store_const", dest="size", const="full")
    parser.add_argument("--json", action="store_true", help="end with one line for programs")
    parser.add_argument("--threads", type=int, help="on so many threads alone")
    asked = parser.parse_args()
    threads = [asked.threads] if asked.threads else sorted({1, os.cpu_count() or 1})
    threads = threads[:1] if asked.size == "quick" else threads
    compile_loops(threads[0])
    print(f"torch {torch.__version__}, loops {'compiled' if COMPILED else 'in torch'}, threads {threads}")
    steps = measured_steps(asked.size, threads)
    print(step_rows(steps), flush=True)
    runs, others = measured_runs(asked.size, threads)
    print("\n" + run_rows([("digits", each) for each in runs] + others), flush=True)
    torch.set_num_threads(threads[0])
    lists = [grown(width, PROMISED[0]) for width in WIDTHS]
    print("\n" + growth_rows(lists))
    made = promises(steps, runs, [each for _, each in others], lists)
    print("\n" + show(made))
    if asked.json:
        print(line("sparse", made))


if __name__ == "__main__":
    main()
