"""One batch of one run: its loss, its gradients, and the step of the optimizer."""

from contextlib import nullcontext

import torch
from torch import Tensor

from optim.sparse.settings import Wide
from training.course import Course, Run, take_loss
from training.curvature import batch_of
from training.monitors import SAMPLED, look
from training.networks.base import Params
from training.state import State
from training.wide.stepping import Stepper


def train_batch(run: Run) -> None:
    """Train the batch at which the run stands. Raise Diverged where its loss is no number or has run away."""
    course, state, epoch = run.course, run.state, run.epoch
    first = state.batches * course.batch_size
    numbers = epoch.numbers[first : first + course.batch_size]
    with nullcontext() if state.meter is None else state.meter.batch(len(numbers)):
        if course.plan.wide is None:
            _step(course, state, numbers, epoch.rates[state.batches])
        else:
            _sparse_step(run, course.plan.wide, numbers, epoch.rates[state.batches].item())


def _step(course: Course, state: State, numbers: Tensor, lr: Tensor) -> None:
    params = state.params
    batch = batch_of(course.network, course.data, course.layers, params, numbers) if course.rule.looks else None
    loss = _loss(course, params, numbers) if batch is None else batch.forward.loss
    take_loss(state, loss.item(), examples=len(numbers))
    grads = torch.autograd.grad(loss, params) if batch is None else batch.gradients()
    with torch.no_grad():
        updates, state.rule = course.rule.step(grads, state.rule, params, {**course.hyper, "lr": lr}, batch)
        if state.batches % SAMPLED == 0:
            state.gauges.take(look(params, grads, updates).tolist())
        for param, update in zip(params, updates, strict=True):
            param.add_(update)
    state.batches += 1


def _sparse_step(run: Run, wide: Wide, numbers: Tensor, lr: float) -> None:
    # What finds active neurons is no part of the state: a run that goes on makes it anew.
    if run.stepper is None:
        run.stepper = Stepper(run, wide)
    losses = run.stepper.step(run, numbers, lr)
    take_loss(run.state, losses.double().mean().item(), examples=len(numbers))
    run.state.batches += 1


def _loss(course: Course, params: Params, numbers: Tensor) -> Tensor:
    inputs, targets = course.data.train.rows(numbers)
    return course.data.task.losses(course.network.apply(params, inputs), targets).mean()
