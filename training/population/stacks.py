"""Members' tensors stacked: parameters, optimizer states and hyperparameters with a member axis in front.

The parameters of a lane are one tensor (P, D), each member's a row: all its tensors one after the other. Networks get them
as views of their own shapes. A rule to which it does not matter where one parameter ends (`Rule.by_tensor`) steps whole
rows, a few operations for all; the others step the views.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from optim.in_place import IN_PLACE, Step
from optim.transform import Hyper, Rule, Tensors, stack
from training.course import Run

Shapes: TypeAlias = tuple[torch.Size, ...]


def row_of(tensors: Tensors) -> Tensor:
    """Return one member's tensors as one vector (D,)."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def views(rows: Tensor, shapes: Shapes) -> list[Tensor]:
    """Return rows (P, D) as the tensors (P, ...) that they hold. Gradients flow back through one concatenation."""
    parts = torch.split(rows, [shape.numel() for shape in shapes], dim=1)
    return [part.reshape(len(rows), *shape) for part, shape in zip(parts, shapes, strict=True)]


def alone(row: Tensor, shapes: Shapes) -> list[Tensor]:
    """Return one member's vector as tensors of its own: views would be saved with the whole stack."""
    return [part[0].clone() for part in views(row.detach().unsqueeze(0), shapes)]


@dataclass(slots=True)
class Crew:
    """Members of one kind of plan, neighbours in the lane: one call of their rule steps them all.

    `state` is stacked along the member axis; where the rule goes by rows its lists hold one tensor (P, D).
    """

    runs: list[Run]
    rule: Rule[Any]
    state: Any
    hyper: Hyper

    @property
    def steps_in_place(self) -> bool:
        """Whether there is a step for this kind of plan that overwrites what it moves."""
        optimizer, links = self.runs[0].course.plan.kind
        return not links and optimizer in IN_PLACE

    def steps(self, rows: Tensor, grads: Tensor, rates: Tensor) -> Step:
        """Prepare such steps at these rates (steps, P): each changes rows (P, D) and state, and overwrites `grads`."""
        return IN_PLACE[self.runs[0].course.plan.optimizer](rows, grads, self.state, self.hyper, rates)

    def propose(self, rows: Tensor, grads: Tensor, rates: Tensor, shapes: Shapes) -> tuple[Tensor, Any]:
        """Return the updates (P, D) and the next state; nothing is changed yet. `rates` are (P,)."""
        hyper = {**self.hyper, "lr": rates}
        if not self.rule.by_tensor:
            (updates,), state = self.rule.update([grads], self.state, [rows], hyper)
            return updates, state
        found, state = self.rule.update(views(grads, shapes), self.state, views(rows, shapes), hyper)
        return torch.cat([update.reshape(len(rows), -1) for update in found], dim=1), state

    def evaluated(self, rows: Tensor, shapes: Shapes) -> Tensor:
        """Return the parameters to evaluate, (P, D)."""
        if self.rule.view is None:
            return rows
        if not self.rule.by_tensor:
            return self.rule.evaluated([rows], self.state, self.hyper)[0]
        found = self.rule.evaluated(views(rows, shapes), self.state, self.hyper)
        return torch.cat([each.reshape(len(rows), -1) for each in found], dim=1)

    def state_of(self, place: int, shapes: Shapes) -> Any:  # noqa: ANN401 - the state of any rule
        """Return the state of the member at this place, as it keeps it alone."""
        return _taken_out(self.state, place, shapes, by_row=not self.rule.by_tensor)


def muster(runs: Sequence[Run], kept: Crew | None) -> Crew:
    """Return the crew of these runs, of one kind: first those that `kept` has already, then newcomers from their states."""
    place = {} if kept is None else {run: place for place, run in enumerate(kept.runs)}
    known, fresh = [run for run in runs if run in place], [run for run in runs if run not in place]
    rule, device = runs[0].course.rule, runs[0].course.device
    states, hypers = [], []
    if kept is not None and known:
        places = torch.tensor([place[run] for run in known], device=device)
        states.append(_selected(kept.state, places))
        hypers.append({name: value.index_select(0, places) for name, value in kept.hyper.items()})
    if fresh:
        states.append(stack([_by_row(run.state.rule) if not rule.by_tensor else run.state.rule for run in fresh]))
        hypers.append(_stacked_hypers(fresh, device))
    state = states[0] if len(states) == 1 else _joined(states)
    hyper = hypers[0] if len(hypers) == 1 else {name: torch.cat([part[name] for part in hypers]) for name in hypers[0]}
    return Crew([*known, *fresh], rule, state, hyper)


def _stacked_hypers(runs: Sequence[Run], device: torch.device) -> dict[str, Tensor]:
    names = runs[0].course.hyper
    return {name: torch.stack([run.course.hyper[name] for run in runs]).to(device) for name in names}


def _by_row(state: Any) -> Any:  # noqa: ANN401
    """Return a member's state with one vector in the place of each list."""
    if isinstance(state, Tensor):
        return state
    if isinstance(state, list):
        return [row_of(state)]
    return _alike(state, [_by_row(part) for part in state])


def _taken_out(state: Any, place: int, shapes: Shapes, *, by_row: bool) -> Any:  # noqa: ANN401
    if isinstance(state, Tensor):
        return state[place].clone()
    if isinstance(state, list):
        return alone(state[0][place], shapes) if by_row else [part[place].clone() for part in state]
    return _alike(state, [_taken_out(part, place, shapes, by_row=by_row) for part in state])


def _selected(state: Any, places: Tensor) -> Any:  # noqa: ANN401
    if isinstance(state, Tensor):
        return state.index_select(0, places)
    return _alike(state, [_selected(part, places) for part in state])


def _joined(states: Sequence[Any]) -> Any:  # noqa: ANN401
    if isinstance(states[0], Tensor):
        return torch.cat(list(states))
    return _alike(states[0], [_joined(parts) for parts in zip(*states, strict=True)])


def _alike(state: Any, parts: list[Any]) -> Any:  # noqa: ANN401
    """Return the parts in a list, tuple or NamedTuple such as `state`."""
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
