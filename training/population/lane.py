"""Many runs of one network trained together: a lane of members, stepped by one program.

Members share the network's shape and the data; everything else is each one's own: optimizer, hyperparameters, schedule,
batch size, step count, seed, data order, clipping, averages. Their parameters are stacked along a member axis in front,
and members of one kind of plan make a crew, whose optimizer is called once for all. A member takes the very steps that it
takes alone, to rounding, whoever is beside it; one that goes to NaN changes no other.

Members come and go between strides; what remains is compacted.
"""

from collections.abc import Container, Sequence

import torch

from training.course import Run, broken, conclude, end_epoch, obey
from training.data.examples import Data
from training.networks.base import Network
from training.population.compiled import CompiledProgram, compiles
from training.population.costs import Clock
from training.population.panel import Panel
from training.population.programs import Program, Taken
from training.population.stacked import StackedProgram
from training.population.stacks import Stacks
from training.population.threads import Threads
from training.watch import Diverged, Ending


class Lane:
    """Steps its members together. `network` and `data` are theirs all; `data` is on the device they train on.

    `clock` is told how long each step takes, `threads` says with how many. A member that `looks_back` behind its last batch
    stays as it is, and keeps the others from their steps, until whoever has the lane lets it leave, to go on alone.
    """

    def __init__(
        self, network: Network, data: Data, *, clock: Clock | None = None, threads: Threads | None = None
    ) -> None:
        self._data = data
        threads = Threads(1) if threads is None else threads
        if compiles(network, data):
            self._program: Program = CompiledProgram(network, data, threads=threads.most)
        else:
            self._program = StackedProgram(network, data, Clock() if clock is None else clock, threads)
        self._stacks = Stacks()
        self._runs: list[Run] = []
        self._panel = Panel([])
        self._left: list[tuple[Run, Ending]] = []

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
        """About how long a step takes; 0 before one was taken, and in a choosy lane, where nobody waits for another's."""
        size = max((run.course.batch_size for run in self._runs), default=0)
        return self._program.step_seconds(len(self._runs), size)

    @property
    def choosy(self) -> bool:
        """Whether it can step some members while others stand still: who is stepped by tensor operations goes with its crew."""
        return self._program.choosy and all(crew.steps_in_place for crew in self._stacks.crews)

    def join(self, runs: Sequence[Run]) -> None:
        """Take in more members. Raise what torch raises where memory does not hold them; nothing has changed then."""
        if runs:
            self._rebuild([*self._runs, *runs])

    def leave(self, runs: Sequence[Run]) -> None:
        """Let members go, with their own parameters and state, to be trained elsewhere."""
        for run in runs:
            self._take_out(run)
        self._drop(set(runs))

    def advance(self, still: Container[Run] = ()) -> list[tuple[Run, Ending]]:
        """Train a stride of every member, or in a choosy lane of all who are not to stand still.

        Return those that ended with it, who have left the lane.

        Raise what torch raises where a step cannot be taken, for want of memory among others: every member then stands
        behind the last step that was, and `take_left` returns who ended before.
        """
        self._left += self._heed()
        if not self._runs:
            return self.take_left()
        ended: dict[Run, Ending] = {}
        # Members that were interrupted behind their last batch have only to be measured, before anybody takes a step.
        if not self._at_end():
            taken = Taken.nothing(len(self._runs))
            try:
                self._program.step(self._stacks, still, taken)
            finally:
                ended = self._settle(taken)
        ended |= self._end_epochs([run for run in self._at_end() if run not in ended and not run.looks_back])
        self._drop(ended)
        self._left += ended.items()
        return self.take_left()

    def take_left(self) -> list[tuple[Run, Ending]]:
        """Return those that have ended and left the lane, of whom nobody has been told yet."""
        left, self._left = self._left, []
        return left

    def _at_end(self) -> list[Run]:
        return [run for run in self._runs if run.state.batches == run.course.batches]

    def _settle(self, taken: Taken) -> dict[Run, Ending]:
        """Enter the steps that were taken; return those that diverged, whose parameters are of no use any more."""
        if not taken.steps.any():
            return {}
        for seen, times in taken.looks:
            self._panel.look(seen.double().cpu().numpy(), times)
        losses = torch.cat(taken.losses).double().cpu().numpy()
        ended = {}
        for each in self._panel.take(losses, taken.steps, taken.counts, taken.lasts):
            run = self._runs[each.place]
            run.state.gauges = each.gauges
            run.state.batches += each.step
            ended[run] = Ending("diverged", broken(run.state, each.loss))
        for run, steps in zip(self._runs, taken.steps.tolist(), strict=True):
            run.state.batches += 0 if run in ended else steps
        return ended

    def _end_epochs(self, runs: Sequence[Run]) -> dict[Run, Ending]:
        """Measure and report the epochs of these members, and let them go to the next; return those that ended."""
        ended: dict[Run, Ending] = {}
        if not runs:
            return ended
        for run, found in zip(runs, self._validated(runs), strict=True):
            place = self._runs.index(run)
            state = run.state
            self._note(run, place)
            try:
                end_epoch(run, found)
                if state.epoch == run.course.plan.until:
                    if run.course.plan.hands_on:
                        self._stacks.take_out(run)
                    ended[run] = Ending("stopped") if obey(run, run.watch.between()) else conclude(run)
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
