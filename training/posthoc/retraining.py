"""The run of a trial once more, from other parameters or on other data."""

from dataclasses import replace

import torch
from torch import Generator, Tensor

from optim.transform import Rule, Tensors, chain
from training.course import Run, end_epoch, ending, set_out, validated
from training.data.examples import Data
from training.evaluation import first_loss
from training.posthoc.trained import Pieces, Trained, Unavailable
from training.state import State
from training.steps import train_batch
from training.watch import Diverged, Nobody


def retrained(
    trained: Trained, data: Data, *, start: Tensors | None = None, link: Rule[tuple[()]] | None = None
) -> Pieces[list[Tensor]]:
    """Train the same plan from its first epoch to its last on `data`, a batch at a time; return the parameters to evaluate.

    It begins at `start`, or at fresh parameters; `link` stands between gradients and the rule. Raise Unavailable where
    it diverges.
    """
    run = _begun(trained, data, start, link)
    course, state = run.course, run.state
    try:
        while True:
            while state.batches < course.batches:
                train_batch(run)
                yield
            end_epoch(run, validated(course, state))
            if state.epoch == course.plan.until:
                ending(course, state)
                with torch.no_grad():
                    return course.rule.evaluated(state.params, state.rule, course.hyper)
            run.enter_epoch()
    except Diverged as diverged:
        raise Unavailable(f"a run on other data diverged: {diverged}") from diverged


def _begun(trained: Trained, data: Data, start: Tensors | None, link: Rule[tuple[()]] | None) -> Run:
    plan = replace(trained.course.plan, begins=0, ends=None, measured=None, curvature={})
    course = set_out(trained.course.network, data, plan, device=trained.course.device)
    if link is not None:
        course = replace(course, rule=chain(link, course.rule))
    order = Generator()
    order.set_state(trained.order)
    first = course.network.init(order) if start is None else start
    params = [param.detach().clone().to(course.device).requires_grad_() for param in first]
    state = State(params, course.rule.init(params), order.get_state(), plan.plateau())
    state.initial = first_loss(course.network, course.data, params)
    return Run(course, state, Nobody())
