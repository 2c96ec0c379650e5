"""What pruning has saved: steps, and seconds of devices, that trials would have taken to their ends.

A pruned trial would have gone on to the objective's last step or, where that is not known, as far as the longest completed
trial. Trials that diverged, failed or were cancelled took their steps and saved none: pruning did not end them.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spent:
    """What a finished trial took: its last measured step (0: never measured) and its share of trainers' seconds."""

    state: str
    steps: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Savings:
    """Of the trials that have finished; `share` is saved / (run + saved), None before anything was measured.

    `full_steps` is how far a trial goes that is not pruned; None where nobody knows yet, and then nothing is reckoned as
    saved. Seconds are None where no attempt carries any; those saved are reckoned at each pruned trial's own pace.
    """

    finished: int
    pruned: int
    full_steps: int | None
    steps_run: int
    steps_saved: int
    share: float | None
    seconds_run: float | None
    seconds_saved: float | None


def savings(trials: Iterable[Spent], *, last_step: int | None) -> Savings:
    """Reckon what pruning saved among finished trials; `last_step` is the objective's, if it has one."""
    trials = list(trials)
    full = last_step or max((trial.steps for trial in trials if trial.state == "completed"), default=0) or None
    pruned = [(trial, max(0, (full or 0) - trial.steps)) for trial in trials if trial.state == "pruned"]
    run, saved = sum(trial.steps for trial in trials), sum(left for _, left in pruned)
    timed = [trial.seconds for trial in trials if trial.seconds is not None]
    paced = [trial.seconds / trial.steps * left for trial, left in pruned if trial.seconds is not None and trial.steps]
    return Savings(
        finished=len(trials),
        pruned=len(pruned),
        full_steps=full,
        steps_run=run,
        steps_saved=saved,
        share=saved / (run + saved) if run + saved else None,
        seconds_run=sum(timed) if timed else None,
        seconds_saved=sum(paced) if timed else None,
    )
