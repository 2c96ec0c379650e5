"""Many runs of one network trained by one tensor program: a lane of members, stepped together, one batch each.

Members share the network's shape and the data; everything else is each one's own: optimizer, hyperparameters, schedule,
batch size, step count, seed, data order, clipping, averages. Their parameters are stacked along a member axis in front,
forward and backward run once for all, and members of one kind of plan are stepped by one call of its rule. A member takes
the very steps that it takes alone, to rounding, whoever is beside it; one that goes to NaN changes no other.

Members come and go between strides; what remains is compacted.
"""

import time
from collections.abc import Container, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from training.course import Run, broken, end_epoch, ending, obey
from training.data.examples import Data
from training.monitors import SAMPLED
from training.networks.base import Network
from training.population.compiled import program_for
from training.population.costs import Clock
from training.population.panel import Panel
from training.population.programs import Taken
from training.population.stacks import Stacks
from training.population.strides import MOST_STEPS, Stride, lay_out
from training.population.threads import Threads
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
        self._data = data
        self._program = program_for(network, data)
        self._stacks = Stacks()
        self._runs: list[Run] = []
        self._panel = Panel([])
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
            taken = Taken()
            try:
                self._train(stride, taken)
            finally:
                ended = self._settle(stride, taken)
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

    def _train(self, stride: Stride, taken: Taken) -> None:
        """Take the steps of a stride, and see how long they take."""
        device, examples = self._stacks.rows.device, len(self._runs) * stride.size
        workers, settled = self._threads.wanted(examples), self._threads.settled(examples)
        began = time.perf_counter()
        self._program.step(self._stacks, stride, self._due(stride.steps), taken, threads=workers)
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # until here steps have only been asked for
        took = (time.perf_counter() - began) / stride.steps
        self._threads.take(examples, workers, took, steps=stride.steps)
        # The last batch of an epoch may be smaller, and tells nothing of the others.
        if settled and stride.size == self._size:
            self._clock.take(len(self._runs), stride.size, took, steps=stride.steps)

    def _due(self, steps: int) -> NDArray[np.bool_]:
        """Say of each step (steps, P) whose turn it is to look at it."""
        taken = np.array([run.state.batches for run in self._runs])
        found: NDArray[np.bool_] = (taken + np.arange(steps)[:, None]) % SAMPLED == 0
        return found

    def _settle(self, stride: Stride, taken: Taken) -> dict[Run, Ending]:
        """Enter the steps that were taken; return those that diverged, whose parameters are of no use any more."""
        if not taken.losses:
            return {}
        for seen, due in taken.looks:
            self._panel.look(seen.double().cpu().numpy(), due)
        losses = torch.stack(taken.losses).double().cpu().numpy()
        found = self._panel.take(losses, stride.counts.numpy())
        ended = {}
        for each in found:
            state = self._runs[each.place].state
            state.gauges = each.gauges
            state.batches += each.step
            ended[self._runs[each.place]] = Ending("diverged", broken(state, each.loss))
        for run in self._runs:
            run.state.batches += 0 if run in ended else len(taken.losses)
        return ended

    def _end_epochs(self, runs: Sequence[Run]) -> dict[Run, Ending]:
        """Measure and report the epochs of these members, and let them go to the next; return those that ended."""
        ended: dict[Run, Ending] = {}
        if not runs:
            return ended
        for run, found in zip(runs, self._validated(runs), strict=True):
            place = self._runs.index(run)
            state, course = run.state, run.course
            self._note(run, place)
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
        rows = self._stacks.evaluated()
        places = [place for place, run in enumerate(self._runs) if run in wanted]
        if len(places) < len(self._runs):
            rows = rows.index_select(0, torch.tensor(places, device=rows.device))
        found = self._program.evaluate(rows, self._stacks.shapes)
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
        self._stacks.take_out(run)
        self._note(run, self._runs.index(run))

    def _note(self, run: Run, place: int) -> None:
        """Give the member's state its readings."""
        run.state.gauges, run.state.total = self._panel.gauges(place), float(self._panel.total[place])

    def _rebuild(self, runs: Sequence[Run]) -> None:
        """Stack these runs and no others; those that are in the lane already keep their place in the stacks."""
        stacks, here = self._stacks.of(runs), set(self._runs)
        for place, run in enumerate(self._runs):
            self._note(run, place)
        self._stacks, self._runs = stacks, stacks.runs
        self._panel = Panel([run.state for run in self._runs])
        for run in self._runs:
            if run not in here:
                _hand_over(run)


def _hand_over(run: Run) -> None:
    """Forget what a member has of its own: it is in the stacks."""
    run.state.params, run.state.rule = [], None
