"""What inputs and activations do to what learning costs."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks.wide_theory.answers import Answer, mean, middle
from benchmarks.wide_theory.runs import Values, reports
from benchmarks.wide_theory.sizes import Size

DISTRIBUTIONS = ("even_quadratic", "even_quadratic_clustered", "digits_parity")
WAYS = ("dense", "lists", "auto")
ACTIVATIONS = ("shifted_relu", "shifted_squared_relu", "top_k")
ACTIVATION_RATES = (5.0, 20.0, 80.0)
BATCH = 16
EPOCHS = 5

Runs: TypeAlias = Sequence[Sequence[Values]]


def by_inputs(size: Size) -> Answer:
    """Ask what lists gain where inputs lie in other ways."""
    rows = [_inputs_row(data, size) for data in DISTRIBUTIONS]
    title = (
        f"By distribution of inputs: width {size.wide}, batches of {BATCH}, {EPOCHS} epochs; "
        "gains are times without lists over times with"
    )
    heads = ["data", "R", "active", "candidates", "refreshed", "gain a step", "gain a run", "gain of auto"]
    return Answer(title, heads, rows)


def _inputs_row(data: str, size: Size) -> list[str]:
    """Run the ways in turns. Epochs behind the first are steps alone; whole runs are with what building takes."""
    common = {"data": data, "train_examples": size.listed, "epochs": EPOCHS, "width": size.wide, "lr": 20.0}
    common |= {"batch_size": BATCH, "measured": {"test": 0.1}}
    runs: dict[str, list[Sequence[Values]]] = {way: [] for way in WAYS}
    for seed in size.seeds:
        for way in WAYS:
            runs[way].append(reports({**common, "reporter": way}, seed=seed))
    names = ("input_spread", "active_fraction", "candidate_fraction", "refresh_rate")
    steps = [_steady(dense) / _steady(lists) for dense, lists in zip(runs["dense"], runs["lists"], strict=True)]
    wholes = [_gains(runs[way], runs["dense"]) for way in ("lists", "auto")]
    gains = [f"{statistics.median(each):.1f}x" for each in (steps, *wholes)]
    return [data, *(f"{mean(runs['lists'], name):.3f}" for name in names), *gains]


def _steady(run: Sequence[Values]) -> float:
    return statistics.fmean(values["step_seconds"] for values in run[1:])


def _gains(runs: Runs, dense: Runs) -> list[float]:
    speed = "examples_per_second"
    return [run[-1][speed] / other[-1][speed] for run, other in zip(runs, dense, strict=True)]


def by_activation(size: Size) -> Answer:
    """Ask what other activations do, each at the best of the rates for it."""
    title = (
        f"By activation on digits_parity: width {size.width}, batches of {BATCH}, {size.epochs} epochs, "
        "2 % of the neurons active as training begins, the best of three rates for each"
    )
    heads = ["activation", "rate", "val_loss", "val_accuracy", "active", "candidates", "ms a step"]
    return Answer(title, heads, [_activation_row(activation, size) for activation in ACTIVATIONS])


def _activation_row(activation: str, size: Size) -> list[str]:
    common: Mapping[str, Any] = {
        "data": "digits_parity",
        "epochs": size.epochs,
        "width": size.width,
        "batch_size": BATCH,
        "activation": activation,
        "threshold_by": "share",
        "active_share": 0.02,
        "reporter": "lists",
    }
    found = {rate: [reports({**common, "lr": rate}, seed=seed) for seed in size.seeds] for rate in ACTIVATION_RATES}
    best = min(found, key=lambda rate: middle(found[rate], "val_loss"))
    runs = found[best]
    scores = [f"{middle(runs, name):.4f}" for name in ("val_loss", "val_accuracy")]
    shares = [f"{mean(runs, name):.3f}" for name in ("active_fraction", "candidate_fraction")]
    return [activation, f"{best:g}", *scores, *shares, f"{1e3 * statistics.median(map(_steady, runs)):.2f}"]
