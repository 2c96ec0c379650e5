"""A rule of the core as a torch.optim.Optimizer, for users' own training loops.

Parameter groups, closures, hooks, state_dict, torch's schedulers and AMP's GradScaler work as with torch's optimizers.
Options stand in the groups under their catalog names as plain values and are read at every step, so a scheduler may
change any.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from . import catalog
from .cohorts import Cohort, check_fields, cohorts, keep_counts, share_counts
from .kernels import KERNELS
from .precondition.lengths import shares
from .records import OptimizerInfo
from .rule_table import RULES
from .transform import Hyper

# Besides options, what torch and its schedulers keep in a group.
_GROUP_KEYS = frozenset(
    {"params", "param_names", "initial_lr", "max_lr", "min_lr", "swa_lr", "base_momentum", "max_momentum"}
)


class RuleOptimizer(Optimizer):
    """Applies the rule of `info` to the parameters of each group; `options` are the defaults of every group.

    The state of a parameter is the rule's state by field name. Parameters without a gradient are left alone and
    their step count with them. Where torch has a kernel for the rule, it steps in the rule's place.
    Raise ValueError for complex parameters, RuntimeError for sparse gradients.
    """

    def __init__(self, params: ParamsT, info: OptimizerInfo, options: dict[str, Any]) -> None:
        self._set_rule(info)
        super().__init__(params, dict(options))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_info": self._info}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # What load_state_dict hands over here has no record: there the optimizer keeps its own.
        self._set_rule(state.get("_info") or self._info)
        super().__setstate__(state)
        for group in self.param_groups:  # of what was saved before an option existed
            for option in self._info.options:
                group.setdefault(option.name, option.default)

    def _set_rule(self, info: OptimizerInfo) -> None:
        self._info = info
        self._rule = RULES[info.name]
        self._kernel = KERNELS.get(info.name)
        self._evaluating = False

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what `state_dict` gave. Raise ValueError if its groups or its state do not match this optimizer's."""
        check_fields(self._rule, self._info.name, state_dict)
        super().load_state_dict(state_dict)
        keep_counts(self._rule, self.state, self.param_groups, state_dict)
        share_counts(self._rule, self.state, self.param_groups)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group. Raise ValueError for options that the optimizer does not accept and for complex parameters."""
        given = {name: value for name, value in param_group.items() if name not in _GROUP_KEYS}
        catalog.complete(self._info, given)
        unresolved = shares(given)
        if unresolved:
            raise ValueError(
                f"{', '.join(unresolved)}: a group says it in steps; a share is given to build, for all groups"
            )
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
        self._check_stepping()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._step_groups()
        return loss

    def _check_stepping(self) -> None:
        if self._evaluating:
            raise RuntimeError(
                "inside evaluation() no step is taken: it would be lost with the parameters put in place"
            )

    @torch.no_grad()
    def _step_groups(self) -> None:
        """Step along the gradients that there are, unseen by hooks: what `step` does once closures are called."""
        for group in self.param_groups:
            self._step_group(group)

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Put in place the parameters to evaluate and to keep, where the rule trains others, and take them back after.

        Of use with the schedule-free rules; with the others it changes nothing. A checkpoint to go on from is written
        outside. Raise RuntimeError for a step inside, which would be lost.
        """
        with torch.no_grad():
            swapped = self._evaluated()
            kept = [(param, param.clone()) for param, _ in swapped]
            for param, value in swapped:
                param.copy_(value)
        self._evaluating = bool(kept)
        try:
            yield
        finally:
            self._evaluating = False
            with torch.no_grad():
                for param, value in kept:
                    param.copy_(value)

    def _evaluated(self) -> list[tuple[Tensor, Tensor]]:
        if self._rule.view is None:
            return []
        found = []
        for group in self.param_groups:
            held = [param for param in group["params"] if self.state.get(param)]
            for cohort in cohorts(self._rule, held, self.state):
                views = self._rule.evaluated(cohort.params, cohort.state(), self._hyper(group))
                found += list(zip(cohort.params, views, strict=True))
        return found

    def _step_group(self, group: dict[str, Any]) -> None:
        found = {param: grad for param in group["params"] if (grad := param.grad) is not None}
        if any(grad.layout is not torch.strided for grad in found.values()):
            raise RuntimeError(f"{self._info.name} does not take sparse gradients; use sparse=False in the embedding")
        for cohort in cohorts(self._rule, list(found), self.state):
            grads = [found[param] for param in cohort.params]
            kernel = self._kernel
            if kernel is not None and kernel.takes(cohort.params, grads, cohort.fields, group):
                kernel.step(cohort.params, grads, cohort.fields, group)
                cohort.store_counts(self.state)
            else:
                self._step_rule(cohort, grads, self._hyper(group))
                cohort.store(self.state)

    def _step_rule(self, cohort: Cohort, grads: list[Tensor], hyper: Hyper) -> None:
        updates, state = self._rule.update(grads, cohort.state(), cohort.params, hyper)
        for param, update in zip(cohort.params, updates, strict=True):
            param.add_(update)
        cohort.take(state)

    def _hyper(self, group: dict[str, Any]) -> Hyper:
        given = ((option.name, option.number(group[option.name])) for option in self._info.options)
        return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in given}
