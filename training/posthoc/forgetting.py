"""How much of what it knows a trained network forgets when it learns another task, and how much less if it is held.

The other task has the same examples with its features in another order, so that it is as hard, and what was learned of
the first says nothing about it. It is learned twice by the trial's own plan, from the parameters theta* that the trial
came to: as it is, and with elastic weight consolidation, which adds to the loss

    lambda / 2  sum_i F_i (theta_i - theta*_i)^2

F being the diagonal of the Fisher information of the first task (Kirkpatrick et al., Overcoming catastrophic forgetting in
neural networks, 2017). No parameter is drawn back by more than the whole way in one step: lambda F_i is at most 1 / lr.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from optim.transform import Hyper, Rule, Tensors, nothing
from training.evaluation import evaluate
from training.posthoc import fisher
from training.posthoc.retraining import retrained
from training.posthoc.trained import Pieces, Trained, Values
from training.posthoc.views import renamed

LAMBDA = 100.0
_MEASURE = "accuracy"


def forgetting(trained: Trained, *, strength: float = LAMBDA) -> Pieces[Values]:
    """Return the accuracy on both tasks after the second: `*_kept` on the first, `*_learned` on the second.

    `ewc_*` with consolidation of this strength, which is lambda, `plain_*` without. Raise Unavailable where no
    layer is known and where a run diverges.
    """
    order = Generator()
    order.set_state(trained.order)
    second = renamed(trained.data, order)
    information = yield from fisher.diagonal(trained)
    found: Values = {}
    for name, link in (("ewc", consolidation(trained.params, information, strength)), ("plain", None)):
        params = yield from retrained(trained, second, start=trained.params, link=link)
        for ending, data in (("kept", trained.data), ("learned", second)):
            found[f"{name}_{ending}"] = evaluate(trained.course.network, data, params, data.val)[_MEASURE]
    return found


def consolidation(anchor: Sequence[Tensor], information: Sequence[Tensor], strength: float = LAMBDA) -> Rule[tuple[()]]:
    """Return the link that adds the penalty's gradient to the loss's own."""

    def update(grads: Tensors, state: tuple[()], params: Tensors, hyper: Hyper) -> tuple[list[Tensor], tuple[()]]:
        pulls = [torch.clamp(strength * own, max=float(1 / hyper["lr"])) for own in information]
        moved = zip(grads, pulls, params, anchor, strict=True)
        return [grad + pull * (param - start) for grad, pull, param, start in moved], state

    return Rule(nothing, update, by_tensor=True)
