"""What the recorded tables are like: `python -m benchmarks.tables.statistics` prints the figures of docs/tables.md."""

import numpy as np

from benchmarks.tables.packing import Floats
from benchmarks.tables.table import FOLDER, Table, finals, load, names

# Points whose normalised regret is at most this are near the best.
NEAR = 0.1
# The share of points among which a tuner has to choose in the end.
TOP = 0.1
RUNGS = (1, 3, 9)
_HEADS = (
    "table", "points x seeds x epochs", "bytes", "best", "median", f"within {NEAR:g}", "diverged",
    "seed noise", "of the top tenth", "noise / spread", "luck", f"rank after {', '.join(map(str, RUNGS))}",
)  # fmt: skip


def noise(table: Table, *, share: float = 1.0) -> float:
    """Return the deviation of the final log-loss over seeds, of a middling one of this share of points, the best."""
    best = np.argsort(table.means)[: round(share * np.isfinite(table.means).sum())]
    return float(np.median(np.log(finals(table.curves)[best]).std(axis=1, ddof=1)))


def spread(table: Table) -> float:
    """Return the deviation between points of the logarithm of their mean final losses, of those that never diverged."""
    return float(np.log(table.means[np.isfinite(table.means)]).std())


def near(table: Table) -> float:
    """Return the share of points whose normalised regret is at most NEAR."""
    return float(np.mean(table.means - table.best <= NEAR * (table.median - table.best)))


def luck(table: Table) -> float:
    """Return what the best mean owes to chance, as a normalised regret: what the best point of all seeds but one comes to
    with that seed, in the mean over the seeds.
    """  # noqa: D205 - one sentence
    found = finals(table.curves)
    others = (np.delete(found, seed, axis=1).mean(axis=1).argmin() for seed in range(table.seeds))
    again = np.mean([found[winner, seed] for seed, winner in enumerate(others)])
    return float((again - table.best) / (table.median - table.best))


def foresight(table: Table, epoch: int) -> float:
    """Return the rank correlation of one run's loss after an epoch with that after the last, of runs that completed."""
    curves = table.curves
    early, late = (curves.losses[:, 0, each - 1][~curves.diverged[:, 0]] for each in (epoch, table.epochs))
    return float(np.corrcoef(_ranks(early), _ranks(late))[0, 1])


def _ranks(values: Floats) -> Floats:
    ranks: Floats = np.argsort(np.argsort(values)).astype(float)
    return ranks


def figures(table: Table) -> tuple[str, ...]:
    """Return one row, as text."""
    points, seeds, epochs = table.curves.losses.shape
    rungs = (f"{foresight(table, epoch):.2f}" for epoch in RUNGS if epoch < epochs)
    return (
        table.name,
        f"{points:,} x {seeds} x {epochs}",
        f"{(FOLDER / f'{table.name}.npz').stat().st_size:,}",
        f"{table.best:.4f}",
        f"{table.median:.3f}",
        f"{near(table):.1%}",
        f"{table.curves.diverged.mean():.1%}",
        f"{noise(table):.2f}",
        f"{noise(table, share=TOP):.2f}",
        f"{noise(table) / spread(table):.2f}",
        f"{luck(table):.2f}",
        ", ".join(rungs),
    )


def main() -> None:
    """Print a row for each table."""
    for cells in (_HEADS, ["---"] * len(_HEADS), *(figures(load(name)) for name in names())):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
