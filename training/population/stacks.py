"""Members' tensors stacked: parameters, optimizer states and hyperparameters with a member axis in front.

The parameters of a lane are one tensor (P, D), each member's a row: all its tensors one after the other. Networks get them
as views of their own shapes. A rule to which it does not matter where one parameter ends (`Rule.by_tensor`) steps whole
rows, a few operations for all; the others step the views.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby, pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor

from optim.in_place import IN_PLACE, Step
from optim.precondition.batch import Looked
from optim.transform import Hyper, Rule, Tensors, stack
from training.course import Run
from training.curvature import members_batch
from training.population.strides import batch_ahead

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
    def optimizer(self) -> str:
        """The name of the optimizer of all."""
        return self.runs[0].course.plan.optimizer

    @property
    def steps_in_place(self) -> bool:
        """Whether there is a step for this kind of plan that overwrites what it moves."""
        optimizer, links = self.runs[0].course.plan.kind
        return not links and optimizer in IN_PLACE

    def steps(self, rows: Tensor, grads: Tensor, rates: Tensor) -> Step:
        """Prepare such steps at these rates (steps, P): each changes rows (P, D) and state, and overwrites `grads`."""
        return IN_PLACE[self.optimizer](rows, grads, self.state, self.hyper, rates)

    def propose(self, rows: Tensor, grads: Tensor, rates: Tensor, shapes: Shapes, ahead: int) -> tuple[Tensor, Any]:
        """Return the updates (P, D) and the next state; nothing is changed yet. `rates` are (P,).

        The batch lies so many batches `ahead` of where the members stand in their epochs.
        """
        hyper = {**self.hyper, "lr": rates}
        if not self.rule.by_tensor:
            (updates,), state = self.rule.update([grads], self.state, [rows], hyper)
            return updates, state
        params = views(rows, shapes)
        batch = self._batch(params, ahead) if self.rule.looks else None
        found, state = self.rule.step(views(grads, shapes), self.state, params, hyper, batch)
        return torch.cat([update.reshape(len(rows), -1) for update in found], dim=1), state

    def _batch(self, params: Tensors, ahead: int) -> Looked:
        course = self.runs[0].course
        return members_batch(course.network, course.data, course.layers, params, *batch_ahead(self.runs, ahead))

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


@dataclass(slots=True)
class Stacks:
    """A lane's members as tensors: crew after crew, `rows` (P, D) and what their gradients are written to.

    `params` are what the network is given, and gradients are taken of: the same memory as the rows, in its own shapes.
    """

    crews: list[Crew] = field(default_factory=list)
    rows: Tensor = field(default_factory=lambda: torch.empty(0))
    shapes: Shapes = ()
    grads: Tensor = field(init=False)
    params: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        """Make room for gradients, and views."""
        self.grads = torch.empty_like(self.rows)
        self.params = [part.requires_grad_() for part in views(self.rows, self.shapes)] if self.crews else []

    @property
    def runs(self) -> list[Run]:
        """Whose they are, in the order of the member axis."""
        return [run for crew in self.crews for run in crew.runs]

    @property
    def places(self) -> list[tuple[Crew, slice]]:
        """Each crew with its part of the member axis."""
        ends = accumulate((len(crew.runs) for crew in self.crews), initial=0)
        return [(crew, slice(*reach)) for crew, reach in zip(self.crews, pairwise(ends), strict=True)]

    def of(self, runs: Sequence[Run]) -> "Stacks":
        """Return the stacks of these runs: of those that are in here what is here, of newcomers their own state."""
        ordered = sorted(runs, key=_kind)
        old = {crew.runs[0].course.plan.kind: crew for crew in self.crews}
        crews = [muster(list(group), old.get(kind)) for kind, group in groupby(ordered, key=_kind)]
        everyone = [run for crew in crews for run in crew.runs]
        rows = self._stacked(everyone)
        shapes = self.shapes or tuple(param.shape for run in everyone[:1] for param in run.state.params)
        return Stacks(crews, rows, shapes)

    def evaluated(self) -> Tensor:
        """Return the parameters to evaluate, (P, D)."""
        return torch.cat([crew.evaluated(self.rows[part], self.shapes) for crew, part in self.places])

    def take_out(self, run: Run) -> None:
        """Give the member's state its part of the stacks, as tensors of its own."""
        crew, part = next((crew, part) for crew, part in self.places if run in crew.runs)
        place = crew.runs.index(run)
        run.state.params = [each.requires_grad_() for each in alone(self.rows[part.start + place], self.shapes)]
        run.state.rule = crew.state_of(place, self.shapes)

    def _stacked(self, runs: Sequence[Run]) -> Tensor:
        """Return the rows of these runs, old and new, in this order."""
        place = {run: place for place, run in enumerate(self.runs)}
        fresh = [run for run in runs if run not in place]
        parts = [] if not place else [self.rows]
        if fresh:
            parts.append(torch.stack([row_of(run.state.params) for run in fresh]))
        if not runs:
            return torch.empty(0)
        place |= {run: len(self.runs) + number for number, run in enumerate(fresh)}
        rows = parts[0] if len(parts) == 1 else torch.cat(parts)
        chosen = torch.tensor([place[run] for run in runs], device=rows.device)
        return rows.index_select(0, chosen)


def _kind(run: Run) -> tuple[str, tuple[str, ...]]:
    """What members must have in common to be stepped by one call."""
    return run.course.plan.kind


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
