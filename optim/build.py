"""From a name to a rule or an optimizer; the names are those of the catalog."""

from typing import Any

from torch.optim.optimizer import ParamsT

from . import catalog
from .rule_table import RULES
from .torch_optimizer import RuleOptimizer
from .transform import Rule


def build_rule(name: str) -> Rule[Any]:
    """Return the rule called `name`. Raise ValueError listing the valid names if there is none."""
    return RULES[catalog.optimizer_info(name).name]


def build(name: str, params: ParamsT, **options: Any) -> RuleOptimizer:  # noqa: ANN401 - numbers and switches
    """Return the optimizer called `name` over `params`, as any optimizer of torch.optim takes them.

    Options that are missing take their catalog defaults. Raise ValueError for an unknown optimizer or option, listing
    the valid ones, and for a value out of range, naming option and range. Options of a parameter group are checked alike.
    """
    info = catalog.optimizer_info(name)
    return RuleOptimizer(params, info, catalog.complete(info, options))
