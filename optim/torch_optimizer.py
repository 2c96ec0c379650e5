"""A rule of the core as a torch.optim.Optimizer, for users' own training loops.

Parameter groups, closures, hooks, state_dict and torch's schedulers work as with torch's optimizers. Options stand in
the groups under their catalog names as plain numbers and are read at every step, so a scheduler may change any.
"""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from . import catalog
from .transform import Hyper, Rule

# Besides options, what torch and its schedulers keep in a group.
_GROUP_KEYS = frozenset({"params", "param_names", "initial_lr"})


class RuleOptimizer(Optimizer):
    """Applies `rule` to each parameter on its own; `options` are the defaults of every group.

    The state of a parameter is the rule's state by field name. Parameters without a gradient are left alone and
    their step count with them. Raise ValueError for complex parameters, RuntimeError for sparse gradients.
    """

    def __init__(
        self, params: ParamsT, rule: Rule[Any], info: catalog.OptimizerInfo, options: dict[str, float]
    ) -> None:
        self._rule = rule
        self._info = info
        self._template = rule.init([])
        super().__init__(params, dict(options))

    def __getstate__(self) -> dict[str, Any]:
        own = {"_rule": self._rule, "_info": self._info, "_template": self._template}
        return {**super().__getstate__(), **own}

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group. Raise ValueError for options that the optimizer does not accept and for complex parameters."""
        given = {name: value for name, value in param_group.items() if name not in _GROUP_KEYS}
        catalog.complete(self._info, given)
        super().add_param_group(param_group)
        if any(param.is_complex() for param in self.param_groups[-1]["params"]):
            self.param_groups.pop()
            raise ValueError(f"{self._info.name} does not take complex parameters; use torch.view_as_real on them")

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; `closure`, if given, computes the gradients first and its value is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            hyper = self._hyper(group)
            for param in group["params"]:
                if param.grad is not None:
                    self._step_one(param, param.grad, hyper)
        return loss

    def _hyper(self, group: dict[str, Any]) -> Hyper:
        names = (option.name for option in self._info.options)
        return {name: torch.as_tensor(group[name], dtype=torch.float64) for name in names}

    def _step_one(self, param: Tensor, grad: Tensor, hyper: Hyper) -> None:
        if grad.layout != torch.strided:
            raise RuntimeError(f"{self._info.name} does not take sparse gradients; use sparse=False in the embedding")
        packed = self.state[param]
        state = _unpack(self._template, packed) if packed else self._rule.init([param])
        [update], state = self._rule.update([grad], state, [param], hyper)
        param.add_(update)
        packed.update(_pack(state))


def _pack(state: Any) -> dict[str, Tensor]:  # noqa: ANN401 - the state of any rule
    """Return the state of a rule over one parameter by field name."""
    return {name: value[0] if isinstance(value, list) else value for name, value in state._asdict().items()}


def _unpack(template: Any, packed: dict[str, Tensor]) -> Any:  # noqa: ANN401 - the state of any rule
    """Undo `_pack`; `template` is a state of the same rule over no parameters."""
    fields = template._asdict().items()
    return template._replace(
        **{name: [packed[name]] if isinstance(value, list) else packed[name] for name, value in fields}
    )
