"""Training one network with one rule of the optimizer core, batch by batch."""

import torch

from training.course import Run, begin, conclude, end_epoch, needs_less, obey, set_out, validated
from training.data.examples import Data
from training.memory import SMALLER, advising
from training.networks.base import Network
from training.plan import Plan
from training.posthoc.pieces import look_back
from training.steps import train_batch
from training.watch import Diverged, Ending, Watch

CPU = torch.device("cpu")


def train(network: Network, data: Data, plan: Plan, *, seed: int, watch: Watch, device: torch.device = CPU) -> Ending:
    """Train on `device`, and report after each epoch from 1: train_loss, val_loss, the task's measures as val_*, gauges.

    `train_loss` is the mean loss of the epoch's examples as they were seen, `val_*` are of the parameters at its
    end, `grad_norm` and `update_ratio` are means over steps of the epoch. The last epoch's report also has what the plan
    wants of curvature. Only finite values are reported. Raise OutOfMemory, with what to try, and ValueError for a plan
    that does not go with the data.
    """
    run = start(network, data, plan, seed=seed, watch=watch, device=device)
    while (ended := step(run)) is None:
        pass
    return ended


def start(network: Network, data: Data, plan: Plan, *, seed: int, watch: Watch, device: torch.device = CPU) -> Run:
    """Return a run at its beginning, or where its watch has a snapshot of it. Raise as `train` does."""
    with advising(f"the network did not fit: {SMALLER}"):
        course = set_out(network, data, plan, device=device)
        return Run(course, begin(course, seed=seed, watch=watch), watch)


def step(run: Run) -> Ending | None:
    """Train one batch, end the epoch if that was its last, do what the watch wants; return how the run ended, if it did.

    Behind the last batch of all, a step is a piece of what the plan wants of curvature, until that is done. Raise
    OutOfMemory, with what to try.
    """
    course, state = run.course, run.state
    try:
        if state.batches < course.batches:
            with advising(needs_less(course)):
                train_batch(run)
        elif run.looks_back:
            look_back(run)
        else:  # it was interrupted behind its last batch, and has only to be measured
            return _end_epoch(run)
        if obey(run, run.watch.between()):
            return Ending("stopped")
        return None if state.batches < course.batches or run.looks_back else _end_epoch(run)
    except Diverged as diverged:
        return Ending("diverged", str(diverged))


def _end_epoch(run: Run) -> Ending | None:
    with advising(f"the network did not fit: {SMALLER}"):
        end_epoch(run, validated(run.course, run.state))
    if obey(run, run.watch.between()):
        return Ending("stopped")
    if run.state.epoch == run.course.plan.until:
        return conclude(run)
    run.enter_epoch()
    return None
