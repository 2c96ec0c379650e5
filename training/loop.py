"""Training one network with one rule of the optimizer core, batch by batch."""

import torch
from torch import Tensor

from training.course import Course, begin, end_epoch, ending, epoch_of, heed, set_out, take_loss
from training.data.examples import Data
from training.memory import SMALLER, advice, advising
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
    with advising(f"the network did not fit: {SMALLER}"):
        course = set_out(network, data, plan, device=device)
        try:
            return _run(course, begin(course, seed=seed, watch=watch), watch)
        except Diverged as diverged:
            return Ending("diverged", str(diverged))


def _run(course: Course, state: State, watch: Watch) -> Ending:
    needs = advice(course.batch_size, whole=course.plan.common["batch_mode"] == "full")
    while state.epoch < course.plan.epochs:
        epoch = epoch_of(course, state)
        for batch in range(state.batches, course.batches):
            with advising(needs):
                _step(course, state, *course.data.train.rows(epoch.batches[batch]), epoch.rates[batch])
            if heed(watch, state, course.plan):
                return Ending("stopped")
        end_epoch(course, state, watch, order=epoch.order)
        if heed(watch, state, course.plan):
            return Ending("stopped")
    return ending(course, state)


def _step(course: Course, state: State, inputs: Tensor, targets: Tensor, lr: Tensor) -> None:
    """Train one batch."""
    params = state.params
    loss = course.data.task.losses(course.network.apply(params, inputs), targets).mean()
    take_loss(state, loss.item(), examples=len(targets))
    grads = torch.autograd.grad(loss, params)
    with torch.no_grad():
        updates, state.rule = course.rule.update(grads, state.rule, params, {**course.hyper, "lr": lr})
        if state.batches % SAMPLED == 0:
            state.gauges.take(look(params, grads, updates)[0])
        for param, update in zip(params, updates, strict=True):
            param.add_(update)
    state.batches += 1
