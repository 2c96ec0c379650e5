"""What theory says of learning: time to a loss, width for a loss, loss by examples."""

import statistics
from collections.abc import Sequence

from benchmarks.wide_theory.answers import Answer, middle
from benchmarks.wide_theory.runs import Passage, reports, steps_to
from benchmarks.wide_theory.sizes import Size
from benchmarks.wide_theory.slopes import power

DATA = "even_quadratic"
# Validation losses for which the narrowest network is looked for.
LOSSES = (0.1, 0.03, 0.01, 0.005)
# A network has learned its examples at this training loss of an epoch, for which it has so many epochs at most.
FITS = 1e-3
MOST_EPOCHS = 80
# A slope of their own is fitted to so many of the lowest losses, since all others are come to fast, and to so many of the
# narrowest networks, since others are held up by their examples and steps.
_ENDS = 4
# Active neurons are searched with a matrix product: times are no part of these questions.
_COMMON = {"data": DATA, "reporter": "dense"}


def time_to_loss(size: Size) -> Answer:
    """Ask how many steps a training loss takes, at fixed rates."""
    common = {**_COMMON, "epochs": MOST_EPOCHS, "width": size.width, "batch_size": 64}
    found = {
        rate: [steps_to(size.targets, {**common, "lr": rate}, seed=seed) for seed in size.seeds] for rate in size.rates
    }
    low = size.targets[-_ENDS]
    rows = [
        [f"{target:g}", *(_steps([passages.get(target) for passages in runs]) for runs in found.values())]
        for target in size.targets
    ]
    slopes = {
        f"slope of log steps in log 1/loss, rate {rate:g}{which}": power(
            [(1 / target, passage.steps) for run in runs for target, passage in run.items() if target <= most]
        )
        for rate, runs in found.items()
        for which, most in (("", size.targets[0]), (f", losses of {low:g} and less", low))
    }
    title = f"Steps (epochs) to a training loss on {DATA}: width {size.width}, batches of 64, rates held"
    return Answer(title, ["loss", *(f"rate {rate:g}" for rate in size.rates)], rows, slopes, "at most 2")


def narrowest(size: Size) -> Answer:
    """Ask how narrow a network may be for a validation loss.

    The same share of neurons is active at every width: else a rate would mean less to a wider one.
    """
    common = {**_COMMON, "epochs": size.epochs, "batch_size": 64, "lr": 40.0, "threshold_by": "share"}
    found = {
        width: [reports({**common, "active_share": 0.05, "width": width}, seed=seed) for seed in size.seeds]
        for width in size.widths
    }
    losses = {width: middle(runs, "val_loss") for width, runs in found.items()}
    fitting = {loss: next((str(width) for width in losses if losses[width] <= loss), "none") for loss in LOSSES}
    rows = [[str(width), f"{loss:.4f}"] for width, loss in losses.items()]
    rows += [[f"narrowest to {loss:g}", width] for loss, width in fitting.items()]
    narrow = size.widths[:_ENDS]
    slopes = {
        f"slope of log val_loss in log width{which}": power(
            [(width, run[-1]["val_loss"]) for width in widths for run in found[width]]
        )
        for which, widths in (("", size.widths), (f", widths to {narrow[-1]}", narrow))
    }
    title = f"Validation loss by width on {DATA}: {size.epochs} epochs, 5 % of the neurons active as training begins"
    theory = "-1/2 or steeper, a width at most quadratic in 1/loss"
    return Answer(title, ["width", "val_loss"], rows, slopes, theory)


def sample_complexity(size: Size) -> Answer:
    """Ask what the number of examples does to the validation loss of networks that have learned them."""
    common = {**_COMMON, "epochs": MOST_EPOCHS, "width": size.width, "batch_size": 16, "lr": 20.0}
    found = {
        count: [reports({**common, "train_examples": count}, seed=seed, fits=FITS) for seed in size.seeds]
        for count in size.examples
    }
    rows = [
        [
            str(count),
            f"{middle(runs, 'val_loss'):.4f}",
            f"{middle(runs, 'train_loss'):.5f}",
            f"{statistics.median(map(len, runs)):g}",
        ]
        for count, runs in found.items()
    ]
    slope = power([(count, run[-1]["val_loss"]) for count, runs in found.items() for run in runs])
    title = f"Validation loss by training examples on {DATA}: width {size.width}, until a training loss of {FITS:g}"
    heads = ["examples", "val_loss", "train_loss", "epochs"]
    return Answer(title, heads, rows, {"slope of log val_loss in log examples": slope}, "about -1/2, or steeper")


def _steps(found: Sequence[Passage | None]) -> str:
    """Write medians, of the runs that came there."""
    passages = [each for each in found if each is not None]
    if not passages:
        return "-"
    steps = statistics.median(each.steps for each in passages)
    return f"{steps:g} ({statistics.median(each.epochs for each in passages):.2f})"
