"""Many runs of one network trained by one tensor program: a lane of members, stepped together, one batch each.

Members share the network's shape and the data; everything else is each one's own: optimizer, hyperparameters, schedule,
batch size, step count, seed, data order, clipping, averages. Their parameters are stacked along a member axis in front,
forward and backward run once for all, and members of one kind of plan are stepped by one call of its rule. A member takes
the very steps that it takes alone, to rounding, whoever is beside it; one that goes to NaN changes no other.

Members come and go between strides; what remains is compacted.
"""

import time
from collections.abc import Callable, Container, Sequence
from itertools import accumulate, groupby, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.course import Run, broken, end_epoch, ending, obey
from training.data.examples import Data
from training.monitors import SAMPLED, look
from training.networks.base import Network, Params
from training.population.costs import Clock
from training.population.evaluation import evaluate_members
from training.population.panel import Panel
from training.population.stacks import Crew, alone, muster, row_of, views
from training.population.strides import MOST_STEPS, Stride, lay_out
from training.population.threads import Threads
from training.tasks import Slope
from training.watch import Diverged, Ending

# A stride should not take longer than this: between strides a lane hears of stops and shows signs of life.
STRIDE_SECONDS = 0.1


class Lane:
    """Steps its members together. `network` and `data` are theirs all; `data` is on the device they train on.

    `clock` is told how long each step takes, `threads` says with how many.
    """

    def __init__(
        self, network: Network, data: Data, *, clock: Clock | None = None, threads: Threads | None = None
    ) -> None:
        self._network = network
        self._data = data
        self._outputs = network.stacked
        self._runs: list[Run] = []
        self._crews: list[Crew] = []
        self._rows = torch.empty(0)
        # What the network is given, and gradients are taken of: the same memory as the rows, in its own shapes.
        self._params: list[Tensor] = []
        self._grads = torch.empty(0)
        self._shapes: tuple[torch.Size, ...] = ()
        self._panel = Panel([])
        self._done: list[Tensor] = []
        self._left: list[tuple[Run, Ending]] = []
        self._clock = Clock() if clock is None else clock
        self._threads = Threads(1) if threads is None else threads

    @property
    def runs(self) -> list[Run]:
        """Who is in the lane, in the order of the member axis."""
        return list(self._runs)

    @property
    def steps_left(self) -> int:
        """How many steps are left until the epoch of a member ends; 0 where one has just begun, or nobody is in it."""
        if any(run.state.batches == 0 for run in self._runs):
            return 0
        return min((run.course.batches - run.state.batches for run in self._runs), default=0)

    @property
    def step_seconds(self) -> float:
        """About how long a step takes; 0 before one was taken."""
        return self._clock.about(len(self._runs), self._size)

    @property
    def _size(self) -> int:
        return max((run.course.batch_size for run in self._runs), default=0)

    def join(self, runs: Sequence[Run]) -> None:
        """Take in more members. Raise what torch raises where memory does not hold them; nothing has changed then."""
        if runs:
            self._rebuild([*self._runs, *runs])

    def leave(self, runs: Sequence[Run]) -> None:
        """Let members go, with their own parameters and state, to be trained elsewhere."""
        for run in runs:
            self._take_out(run)
        self._drop(set(runs))

    def advance(self) -> list[tuple[Run, Ending]]:
        """Train a stride of every member; return those that ended with it, who have left the lane.

        Raise what torch raises where a step cannot be taken, for want of memory among others: every member then stands
        behind the last step that was, and `take_left` returns who ended before.
        """
        self._left += self._heed()
        if not self._runs:
            return self.take_left()
        stride, ended = self._next_stride(), {}
        if stride is not None:
            try:
                self._train(stride)
            finally:
                ended = self._settle(stride)
        ended |= self._end_epochs([run for run in self._at_end() if run not in ended])
        self._drop(ended)
        self._left += ended.items()
        return self.take_left()

    def take_left(self) -> list[tuple[Run, Ending]]:
        """Return those that have ended and left the lane, of whom nobody has been told yet."""
        left, self._left = self._left, []
        return left

    def _next_stride(self) -> Stride | None:
        # Members that were interrupted behind their last batch have only to be measured, before anybody takes a step.
        if self._at_end():
            return None
        took = self.step_seconds
        return lay_out(self._runs, most=max(1, min(MOST_STEPS, int(STRIDE_SECONDS / took))) if took else 1)

    def _at_end(self) -> list[Run]:
        return [run for run in self._runs if run.state.batches == run.course.batches]

    def _train(self, stride: Stride) -> None:
        """Take the steps of a stride, and keep the losses of each that was taken whole."""
        device = self._rows.device
        numbers, rates = stride.numbers, stride.rates.to(device)
        weights = stride.weights.to(device, self._rows.dtype)
        examples = len(self._runs) * stride.size
        workers, settled = self._threads.wanted(examples), self._threads.settled(examples)
        torch.set_num_threads(workers)
        move = self._mover(rates)
        due = self._due(stride.steps)
        began = time.perf_counter()
        for step in range(stride.steps):
            self._move(move, self._slopes(numbers[step], weights), step, due[step])
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # until here steps have only been asked for
        took = (time.perf_counter() - began) / stride.steps
        self._threads.take(examples, workers, took, steps=stride.steps)
        # The last batch of an epoch may be smaller, and tells nothing of the others.
        if settled and stride.size == self._size:
            self._clock.take(len(self._runs), stride.size, took, steps=stride.steps)

    def _slopes(self, numbers: Tensor, weights: Tensor) -> Tensor:
        """Return each member's mean loss over its batch (P,), and put the gradients into their place."""
        inputs, targets = self._data.train.rows(numbers.flatten())
        inputs, targets = inputs.reshape(*numbers.shape, *inputs.shape[1:]), targets.reshape(numbers.shape)
        slopes = self._network.slopes or self._by_autograd
        losses, grads = slopes(self._params, inputs, targets, weights, self._data.task.slope)
        with torch.no_grad():
            torch.cat([grad.reshape(len(grad), -1) for grad in grads], dim=1, out=self._grads)
            return (losses * weights).sum(dim=1)

    def _by_autograd(
        self, params: Params, inputs: Tensor, targets: Tensor, weights: Tensor, slope: Slope
    ) -> tuple[Tensor, list[Tensor]]:
        del slope
        outputs = self._outputs(params, inputs)
        losses = self._data.task.losses(outputs.flatten(0, 1), targets.flatten()).reshape(targets.shape)
        return losses.detach(), list(torch.autograd.grad((losses * weights).sum(), params))

    @torch.no_grad()
    def _mover(self, rates: Tensor) -> Callable[[int], None]:
        """Return what steps all members, or none: whatever needs memory comes before the first change."""
        crews = [(crew, self._rows[part], self._grads[part], rates[:, part]) for crew, part in self._places()]
        in_place = [crew.steps(*given) for crew, *given in crews if crew.steps_in_place]
        pure = [each for each in crews if not each[0].steps_in_place]

        def move(step: int) -> None:
            found = [crew.propose(rows, grads, lr[step], self._shapes) for crew, rows, grads, lr in pure]
            for (crew, rows, *_), (updates, state) in zip(pure, found, strict=True):
                rows.add_(updates)
                crew.state = state
            for take in in_place:
                take(step)

        return move

    @torch.no_grad()
    def _move(self, move: Callable[[int], None], losses: Tensor, step: int, due: NDArray[np.bool_]) -> None:
        """Step all members, keep their losses, and let those look at their step whose turn it is."""
        # A step may overwrite gradients, and always does parameters.
        before, grads = (self._rows.clone(), self._grads.clone()) if due.any() else (self._rows, self._grads)
        move(step)
        self._done.append(losses)
        if not due.any():
            return
        seen = look(*(views(part, self._shapes) for part in (before, grads, self._rows - before)), members=1)
        self._panel.look(seen.double().cpu().numpy(), due)

    def _due(self, steps: int) -> NDArray[np.bool_]:
        """Say of each step (steps, P) whose turn it is to look at it."""
        taken = np.array([run.state.batches for run in self._runs])
        found: NDArray[np.bool_] = (taken + np.arange(steps)[:, None]) % SAMPLED == 0
        return found

    def _places(self) -> list[tuple[Crew, slice]]:
        ends = accumulate((len(crew.runs) for crew in self._crews), initial=0)
        return [(crew, slice(*reach)) for crew, reach in zip(self._crews, pairwise(ends), strict=True)]

    def _settle(self, stride: Stride) -> dict[Run, Ending]:
        """Enter the steps that were taken; return those that diverged, whose parameters are of no use any more."""
        taken, self._done = self._done, []
        if not taken:
            return {}
        losses = torch.stack(taken).double().cpu().numpy()
        found = self._panel.take(losses, stride.counts.numpy())
        ended = {}
        for each in found:
            state = self._runs[each.place].state
            state.gauges = each.gauges
            state.batches += each.step
            ended[self._runs[each.place]] = Ending("diverged", broken(state, each.loss))
        for run in self._runs:
            run.state.batches += 0 if run in ended else len(taken)
        return ended

    def _end_epochs(self, runs: Sequence[Run]) -> dict[Run, Ending]:
        """Measure and report the epochs of these members, and let them go to the next; return those that ended."""
        ended: dict[Run, Ending] = {}
        if not runs:
            return ended
        for run, found in zip(runs, self._validated(runs), strict=True):
            place = self._runs.index(run)
            state, course = run.state, run.course
            state.gauges, state.total = self._panel.gauges(place), float(self._panel.total[place])
            try:
                end_epoch(run, found)
                if state.epoch == course.plan.epochs:
                    ended[run] = Ending("stopped") if obey(run, run.watch.between()) else ending(course, state)
                    continue
            except Diverged as error:
                ended[run] = Ending("diverged", str(error))
                continue
            run.enter_epoch()
            self._panel.put(place, state)
        return ended

    @torch.no_grad()
    def _validated(self, runs: Sequence[Run]) -> list[dict[str, float]]:
        wanted = set(runs)
        rows = torch.cat([crew.evaluated(self._rows[part], self._shapes) for crew, part in self._places()])
        places = [place for place, run in enumerate(self._runs) if run in wanted]
        if len(places) < len(self._runs):
            rows = rows.index_select(0, torch.tensor(places, device=rows.device))
        found = evaluate_members(self._outputs, self._data, views(rows, self._shapes), self._data.val)
        by_run = dict(zip((self._runs[place] for place in places), found, strict=True))
        return [by_run[run] for run in runs]

    def _heed(self) -> list[tuple[Run, Ending]]:
        """Do what the members' watches want; let those go that are to stop, and return them."""
        ended = {}
        for run in self._runs:
            if pause := run.watch.between():
                self._take_out(run)
                if obey(run, pause):
                    ended[run] = Ending("stopped")
                else:
                    _hand_over(run)
        self._drop(ended)
        return list(ended.items())

    def _drop(self, ended: Container[Run]) -> None:
        kept = [run for run in self._runs if run not in ended]
        if len(kept) < len(self._runs):
            self._rebuild(kept)

    def _take_out(self, run: Run) -> None:
        """Give the member's state its part of the stacks, as tensors of its own."""
        place = self._runs.index(run)
        crew = next(crew for crew in self._crews if run in crew.runs)
        state = run.state
        state.params = [part.requires_grad_() for part in alone(self._rows[place], self._shapes)]
        state.rule = crew.state_of(crew.runs.index(run), self._shapes)
        state.gauges, state.total = self._panel.gauges(place), float(self._panel.total[place])

    def _rebuild(self, runs: Sequence[Run]) -> None:
        """Stack these runs and no others; those that are in the lane already keep their place in the stacks."""
        ordered = sorted(runs, key=_kind)
        old = {crew.runs[0].course.plan.kind: crew for crew in self._crews}
        crews = [muster(list(group), old.get(kind)) for kind, group in groupby(ordered, key=_kind)]
        everyone = [run for crew in crews for run in crew.runs]
        rows = self._stacked(everyone)
        here = set(self._runs)
        for place, run in enumerate(self._runs):
            run.state.gauges, run.state.total = self._panel.gauges(place), float(self._panel.total[place])
        if everyone and not self._shapes:
            self._shapes = tuple(param.shape for param in everyone[0].state.params)
        self._runs, self._crews, self._rows, self._grads = everyone, crews, rows, torch.empty_like(rows)
        self._params = [part.requires_grad_() for part in views(rows, self._shapes)] if everyone else []
        self._panel = Panel([run.state for run in everyone])
        for run in everyone:
            if run not in here:
                _hand_over(run)

    def _stacked(self, runs: Sequence[Run]) -> Tensor:
        """Return the rows of these runs, old and new, in this order."""
        place = {run: place for place, run in enumerate(self._runs)}
        fresh = [run for run in runs if run not in place]
        parts = [] if not place else [self._rows]
        if fresh:
            parts.append(torch.stack([row_of(run.state.params) for run in fresh]))
        if not runs:
            return torch.empty(0)
        place |= {run: len(self._runs) + number for number, run in enumerate(fresh)}
        rows = parts[0] if len(parts) == 1 else torch.cat(parts)
        chosen = torch.tensor([place[run] for run in runs], device=rows.device)
        return rows.index_select(0, chosen)


def _hand_over(run: Run) -> None:
    """Forget what a member has of its own: it is in the stacks."""
    run.state.params, run.state.rule = [], None


def _kind(run: Run) -> tuple[str, tuple[str, ...]]:
    """What members must have in common to be stepped by one call."""
    return run.course.plan.kind
