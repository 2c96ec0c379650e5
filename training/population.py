"""Many runs of one network trained by one tensor program: a lane of members, stepped together, one batch each.

Members share the network's shape, the data and the batch size; everything else is each one's own: optimizer,
hyperparameters, schedule, step count, seed, data order, clipping, averages. Their parameters are stacked along a member
axis in front, forward and backward run once for all, and members of one rule are stepped by one call of it. A member
takes the very steps that it takes alone, to rounding, whoever is beside it; one that goes to NaN changes no other.

Members come and go between steps; what remains is stacked anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from optim.transform import Hyper, stack
from training.course import Course, Epoch, end_epoch, ending, epoch_of, obey, take_loss
from training.data.examples import Data
from training.monitors import SAMPLED, look
from training.networks.base import Network
from training.state import State
from training.watch import Diverged, Ending, Pause, Watch


@dataclass(slots=True, eq=False)
class Member:
    """One run in a lane, and the epoch it is in."""

    course: Course
    state: State
    watch: Watch
    epoch: Epoch = field(init=False)

    def __post_init__(self) -> None:
        """Begin where the state stands."""
        self.epoch = epoch_of(self.course, self.state)


@dataclass(slots=True)
class _Crew:
    """Members of one rule, a contiguous slice of the lane, with their stacked state and hyperparameters."""

    place: slice
    members: list[Member]
    state: Any
    hyper: Hyper

    def step(self, params: list[Tensor], grads: Sequence[Tensor], rates: Tensor) -> list[Tensor]:
        """Step all members; return their updates. `rates` are of the whole lane."""
        own = [param[self.place] for param in params]
        slopes = [grad[self.place] for grad in grads]
        hyper = {**self.hyper, "lr": rates[self.place]}
        updates, self.state = self.members[0].course.rule.update(slopes, self.state, own, hyper)
        for param, update in zip(own, updates, strict=True):
            param.add_(update)
        return updates


class Lane:
    """Steps its members together. `network` and `data` are theirs all; `data` is on the device they train on."""

    def __init__(self, network: Network, data: Data) -> None:
        self._data = data
        self._outputs = torch.func.vmap(network.apply)
        self._members: list[Member] = []
        self._crews: list[_Crew] = []
        self._params: list[Tensor] = []

    @property
    def members(self) -> list[Member]:
        """Who is in the lane, in the order of the member axis."""
        return list(self._members)

    def join(self, members: Sequence[Member]) -> None:
        """Take in more members."""
        self._rebuild([*self._members, *members])

    def step(self) -> list[tuple[Member, Ending]]:
        """Train one batch of every member; return those that ended with it, who have left the lane."""
        if not self._members:
            return []
        ended = self._train()
        for member in self._members:
            if member not in ended and (end := self._after(member)) is not None:
                ended[member] = end
        if ended:
            self._rebuild([member for member in self._members if member not in ended])
        return list(ended.items())

    def _train(self) -> dict[Member, Ending]:
        """Take one batch of every member; return those that diverged, whose parameters are of no use any more."""
        numbers = [member.epoch.batches[member.state.batches] for member in self._members]
        losses = self._loss(numbers)
        diverged = {}
        for member, loss, taken in zip(self._members, losses.tolist(), numbers, strict=True):
            try:
                take_loss(member.state, loss, examples=len(taken))
            except Diverged as error:
                diverged[member] = Ending("diverged", str(error))
        grads = torch.autograd.grad(losses.sum(), self._params)
        rates = torch.stack([member.epoch.rates[member.state.batches] for member in self._members])
        with torch.no_grad():
            for crew in self._crews:
                self._sample(crew, grads, crew.step(self._params, grads, rates.to(grads[0].device)))
        for member in self._members:
            member.state.batches += 1
        return diverged

    def _loss(self, numbers: Sequence[Tensor]) -> Tensor:
        """Return each member's mean loss over its batch, shape (P,); shorter batches are filled up and masked."""
        counts = torch.tensor([len(batch) for batch in numbers])
        filled = torch.nn.utils.rnn.pad_sequence(list(numbers), batch_first=True)
        inputs, targets = self._data.train.rows(filled.flatten())
        outputs = self._outputs(self._params, inputs.reshape(*filled.shape, *inputs.shape[1:]))
        losses = self._data.task.losses(outputs.flatten(0, 1), targets).reshape(filled.shape)
        if bool((counts == filled.shape[1]).all()):
            return losses.mean(dim=1)
        real = (torch.arange(filled.shape[1]) < counts[:, None]).to(losses.device)
        means: Tensor = torch.where(real, losses, 0.0).sum(dim=1) / counts.to(losses)
        return means

    def _sample(self, crew: _Crew, grads: Sequence[Tensor], updates: Sequence[Tensor]) -> None:
        """Let the members look at their step whose turn it is."""
        due = [place for place, member in enumerate(crew.members) if member.state.batches % SAMPLED == 0]
        if not due:
            return
        # The parameters have been stepped already; before that they were these.
        before = [param[crew.place] - update for param, update in zip(self._params, updates, strict=True)]
        readings = look(before, [grad[crew.place] for grad in grads], updates, members=1)
        for place in due:
            crew.members[place].state.gauges.take(readings[place])

    def _after(self, member: Member) -> Ending | None:
        """End the member's epoch if it is over, and do what its watch wants; return how the run ended, if it did."""
        state, course = member.state, member.course
        over = state.batches == course.batches
        try:
            if over:
                self._take_out(member)
                end_epoch(course, state, member.watch, order=member.epoch.order)
            if (pause := member.watch.between()) and self._obey(pause, member):
                return Ending("stopped")
            if over and state.epoch == course.plan.epochs:
                return ending(course, state)
        except Diverged as error:
            return Ending("diverged", str(error))
        if over:
            member.epoch = epoch_of(course, state)
        return None

    def _obey(self, pause: Pause, member: Member) -> bool:
        self._take_out(member)
        return obey(pause, member.watch, member.state, member.course.plan)

    def _take_out(self, member: Member) -> None:
        """Give the member's state its part of the stacks, as tensors of its own: a view would be saved with the whole."""
        at = self._members.index(member)
        crew = next(crew for crew in self._crews if member in crew.members)
        member.state.params = [param[at].detach().clone() for param in self._params]
        member.state.rule = _picked(crew.state, at - crew.place.start)

    def _rebuild(self, members: list[Member]) -> None:
        """Stack these members, and no others."""
        for member in self._members:
            self._take_out(member)
        ordered = sorted(members, key=_kind)
        self._crews, self._members = [], ordered
        for _, crew in groupby(ordered, key=_kind):
            self._crews.append(_crew(list(crew), start=sum(len(other.members) for other in self._crews)))
        fields = zip(*(member.state.params for member in ordered), strict=True)
        self._params = [torch.stack([param.detach() for param in params]).requires_grad_() for params in fields]


def _crew(members: list[Member], *, start: int) -> _Crew:
    hypers = [member.course.hyper for member in members]
    device = members[0].course.device
    return _Crew(
        place=slice(start, start + len(members)),
        members=members,
        state=stack([member.state.rule for member in members]),
        hyper={name: torch.stack([hyper[name] for hyper in hypers]).to(device) for name in hypers[0]},
    )


def _kind(member: Member) -> tuple[str, tuple[str, ...]]:
    """What members must have in common to be stepped by one call."""
    return member.course.plan.kind


def _picked(state: Any, place: int) -> Any:  # noqa: ANN401 - the state of any rule
    """Return a copy of one member's part of a stacked state."""
    if isinstance(state, Tensor):
        return state[place].clone()
    parts = [_picked(part, place) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else type(state)(parts)
