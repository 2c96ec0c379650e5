"""Training one network with one rule of the optimizer core, batch by batch."""

import torch
from torch import Tensor

from training.course import Course, Run, begin, conclude, end_epoch, needs_less, obey, set_out, take_loss, validated
from training.data.examples import Data
from training.memory import SMALLER, advising
from training.monitors import SAMPLED, look
from training.networks.base import Network
from training.plan import Plan
from training.state import State
from training.watch import Diverged, Ending, Watch

CPU = torch.device("cpu")


def train(network: Network, data: Data, plan: Plan, *, seed: int, watch: Watch, device: torch.device = CPU) -> Ending:
    """Train on `device`, and report after each epoch from 1: train_loss, val_loss, the task's measures as val_*, gauges.

    `train_loss` is the mean loss of the epoch's examples as they were seen, `val_*` are of the parameters at its
    end, `grad_norm` and `update_ratio` are means over steps of the epoch. Only finite values are reported. Raise
    OutOfMemory, with what to try, and ValueError for a plan that does not go with the data.
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

    Raise OutOfMemory, with what to try.
    """
    course, state = run.course, run.state
    try:
        # One that was interrupted behind its last batch has only to be measured.
        if state.batches < course.batches:
            with advising(needs_less(course)):
                _train_batch(run)
            if obey(run, run.watch.between()):
                return Ending("stopped")
        return _end_epoch(run) if state.batches == course.batches else None
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


def _train_batch(run: Run) -> None:
    course, state, epoch = run.course, run.state, run.epoch
    first = state.batches * course.batch_size
    inputs, targets = course.data.train.rows(epoch.numbers[first : first + course.batch_size])
    _step(course, state, inputs, targets, epoch.rates[state.batches])


def _step(course: Course, state: State, inputs: Tensor, targets: Tensor, lr: Tensor) -> None:
    params = state.params
    loss = course.data.task.losses(course.network.apply(params, inputs), targets).mean()
    take_loss(state, loss.item(), examples=len(targets))
    grads = torch.autograd.grad(loss, params)
    with torch.no_grad():
        updates, state.rule = course.rule.update(grads, state.rule, params, {**course.hyper, "lr": lr})
        if state.batches % SAMPLED == 0:
            state.gauges.take(look(params, grads, updates).tolist())
        for param, update in zip(params, updates, strict=True):
            param.add_(update)
    state.batches += 1
