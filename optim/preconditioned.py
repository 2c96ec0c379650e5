"""An optimizer of the catalog that preconditions, as a torch.optim.Optimizer whose steps are given closures."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from .precondition.interface import STEPPING, Preconditioner
from .records import OptimizerInfo
from .torch_optimizer import RuleOptimizer


class PreconditionedOptimizer(RuleOptimizer):
    """Steps with momentum along gradients that `precondition` leaves. `step` needs the closure that it takes: see there.

    Options of preconditioning are one for all groups; lr, momentum and weight_decay are each group's own. Where
    a method goes by the rate itself, as for `kl_clip`, that is the largest of all groups.
    """

    def __init__(
        self, model: nn.Module | ParamsT, info: OptimizerInfo, options: dict[str, Any], *, loss: str, reduction: str
    ) -> None:
        params = model.parameters() if isinstance(model, nn.Module) else model
        super().__init__(params, info, options)
        given = (
            model if isinstance(model, nn.Module) else [each for group in self.param_groups for each in group["params"]]
        )
        own = {name: value for name, value in options.items() if name not in STEPPING}
        self.precondition = Preconditioner(given, info.name, loss=loss, reduction=reduction, **own)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "precondition": self.precondition}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "precondition" in state:  # what load_state_dict hands over has none
            self.precondition = state["precondition"]
        super().__setstate__({name: part for name, part in state.items() if name != "precondition"})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, before all have been given. Raise ValueError for another, for what is one for all, and as others do."""
        if "precondition" in vars(self):
            raise ValueError(
                f"{self._info.name} keeps curvature of the parameters that it was built with: build it with all of them, in "
                "groups if need be"
            )
        shared = {option.name for option in self._info.options} - STEPPING
        given = sorted(name for name in shared & param_group.keys() if param_group[name] != self.defaults[name])
        if given:
            raise ValueError(
                f"{', '.join(given)}: one for all groups; a group has {', '.join(sorted(STEPPING))} of its own"
            )
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Tensor:  # type: ignore[override]  # needs the closure
        """Precondition and step; return the loss. Raise TypeError without a closure, ValueError for one that does not do."""
        if closure is None:
            raise TypeError(
                f"{self._info.name} looks at the mini-batch: call step(closure), the closure returning (loss, outputs) "
                "without calling backward"
            )
        self._check_stepping()
        loss = self.precondition.backward(closure, lr=max(group["lr"] for group in self.param_groups))
        self._step_groups()  # not `step`, or whoever hooked steps would be told twice
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state with that of preconditioning."""
        return {**super().state_dict(), "precondition": self.precondition.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave. Raise ValueError if it does not match this optimizer."""
        if "precondition" not in state_dict:
            raise ValueError(
                f"the state has no preconditioner in it: it is of an optimizer that is not {self._info.name}"
            )
        before = self.precondition.state_dict()
        self.precondition.load_state_dict(state_dict["precondition"])
        try:
            super().load_state_dict({name: part for name, part in state_dict.items() if name != "precondition"})
        except ValueError:
            self.precondition.load_state_dict(before)
            raise
