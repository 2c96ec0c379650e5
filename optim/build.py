"""From a name to a rule or an optimizer; the names are those of the catalog."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim.optimizer import ParamsT

from . import catalog
from .precondition.layers import Layer
from .precondition.lengths import in_steps
from .precondition.methods import METHODS, asks
from .preconditioned import PreconditionedOptimizer
from .rule_table import RULES
from .torch_optimizer import RuleOptimizer
from .transform import Rule, chain


def build_rule(name: str, layers: Sequence[Layer] = (), *, between: Sequence[Rule[Any]] = ()) -> Rule[Any]:
    """Return the rule called `name`, behind what stands `between` gradients and it.

    One that asks about mini-batches preconditions for these `layers`, and what is between comes behind that. Raise
    ValueError listing the valid names if there is no such rule.
    """
    own = catalog.optimizer_info(name).name
    links = [METHODS[own].link(layers)] if asks(own) else []
    parts = [*links, *between, RULES[own]]
    return chain(*parts) if len(parts) > 1 else parts[0]


def build(
    name: str,
    params: nn.Module | ParamsT,
    *,
    loss: str = "cross_entropy",
    reduction: str = "mean",
    total_steps: int | None = None,
    **options: Any,  # noqa: ANN401 - numbers, switches and choices
) -> RuleOptimizer:
    """Return the optimizer called `name` over `params`, as any optimizer of torch.optim takes them, or over a model's.

    One that looks at mini-batches asks `step` for a closure, whose `loss` and `reduction` are these; see `Preconditioner`.
    `total_steps` is what options are shares of that say so, such as interval_warmup_share.
    Options that are missing take their catalog defaults. Raise ValueError for an unknown optimizer or option, listing
    the valid ones, and for a value out of range, naming option and range. Options of a parameter group are checked alike.
    """
    info = catalog.optimizer_info(name)
    complete = in_steps(catalog.complete(info, options), total_steps)
    if asks(name):
        return PreconditionedOptimizer(params, info, complete, loss=loss, reduction=reduction)
    return RuleOptimizer(params.parameters() if isinstance(params, nn.Module) else params, info, complete)
