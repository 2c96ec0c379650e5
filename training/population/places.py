"""Where trials of one network, data and device are trained: their lanes, what steps cost there, how many pay."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from training.channel import Start
from training.course import Run
from training.population.compiled import compiles
from training.population.costs import LEAST_ROOM, Clock, Costs, Leisure, fitted, room, shared_sizes
from training.population.lane import Lane
from training.population.limits import MOST, most_members
from training.population.seats import Seat
from training.population.stacking import why_alone
from training.population.threads import Threads
from training.precision import DEFAULT_PRECISION
from training.recipes import Prepared

# The room is said again once it has changed by this factor.
ROOM_CHANGE = 1.3
# The lane of all sizes of batches.
ANY_SIZE = 0
# How often costs are looked at.
LOOK_SECONDS = 0.05
_NAME_CHARACTERS = 80
# How often the numbers of an example are held on their way through a network, forth and back: a rough guess.
_PASSES = 64


@dataclass(slots=True, eq=False)
class Place:
    """Lanes by the size of their batches, newcomers that wait to join one, and who stepped `aside` to wait for a verdict.

    `alone` says why trials here can share none. `most` is how many members memory has been seen to hold, `room` how many
    the supervisor was told.
    """

    name: str
    given: Prepared
    alone: str | None
    compiled: bool
    threads: Threads
    lanes: dict[int, Lane] = field(default_factory=dict)
    newcomers: list[Seat] = field(default_factory=list)
    aside: list[Seat] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    leisure: Leisure = field(default_factory=Leisure)
    shapes: tuple[torch.Size, ...] | None = None
    most: int = MOST
    room: int = 1
    look_at: float = 0.0

    def looks_again(self, now: float) -> bool:
        """Say whether it is time to ask what steps cost by now; that costs more than some steps."""
        if now < self.look_at:
            return False
        self.look_at = now + LOOK_SECONDS
        return True

    @property
    def runs(self) -> list[Run]:
        """All who are in its lanes."""
        return [run for lane in self.lanes.values() for run in lane.runs]

    @property
    def costs(self) -> Costs | None:
        """What a step costs here, once enough were seen."""
        return fitted(self.clock.known)

    def why_alone(self, run: Run) -> str | None:
        """Return why this run can share no lane here, None if it can."""
        shapes = tuple(param.shape for param in run.state.params)
        if self.shapes is None:
            self.shapes = shapes
        return self.alone or (None if shapes == self.shapes else "its parameters have other shapes than its lane's")

    def lane(self, size: int) -> Lane:
        """Return the lane for batches of this size; it may be new."""
        if size not in self.lanes:
            given = self.given
            self.lanes[size] = Lane(given.network, given.data, clock=self.clock, threads=self.threads)
        return self.lanes[size]

    def shared(self, newcomers: Sequence[Run] = ()) -> dict[int, int]:
        """Say which size of batches goes into the lane of which; of all into one that can step them beside each other."""
        if self.compiled:
            return {run.course.batch_size: ANY_SIZE for run in [*self.runs, *newcomers]}
        return shared_sizes(Counter(run.course.batch_size for run in [*self.runs, *newcomers]), self.costs)

    def news(self) -> int | None:
        """Return how many pay here if that is to be said: it has changed by much."""
        sizes = [size for size, lane in self.lanes.items() if lane.runs]
        wanted = room(self.costs, sizes, most=self.most, sure=self.clock.sure) if sizes else self.room
        wanted = min(self.most, max(wanted, self.leisure.judge(self.room)))
        if wanted > self.room:
            wanted = min(wanted, self._held_by_memory(max((run.course.batch_size for run in self.runs), default=1)))
        if self.room / ROOM_CHANGE < wanted < self.room * ROOM_CHANGE:
            return None
        self.room = wanted
        return wanted

    def _held_by_memory(self, size: int) -> int:
        """Return how many members with batches of this size memory will hold."""
        floats = sum(shape.numel() for shape in self.shapes or ())
        numbers = size * _PASSES * (self.given.data.features + self.given.data.outputs)
        return most_members(self.given.device, members=len(self.runs), floats=floats, batch=numbers)


def key_of(start: Start, given: Prepared) -> str:
    """Return what trials must have in common to be trained in one place."""
    data = given.data
    network = json.dumps(start.objective.get("network"), sort_keys=True)
    sizes = (len(data.train), len(data.val), tuple(data.shape), data.outputs, data.vocabulary)
    parts = (network, given.network.version, data.name, data.version, start.data, sizes, given.device, given.precision)
    return repr(parts)


def place_for(start: Start, given: Prepared, *, threads: int) -> Place:
    """Return a place for such trials. Raise what the network raises where it cannot even be made."""
    moved = replace(given, data=given.data.to(given.device))
    precision = "" if given.precision == DEFAULT_PRECISION else f", {given.precision}"
    name = f"{_shown(start.objective.get('network'))}, {given.data.name}, {given.device.type}{precision}"
    measured = "what it costs is measured" if given.plan.measured is not None else None
    alone = measured or why_alone(given.network, moved.data, precision=given.precision)
    compiled = compiles(given.network, moved.data)
    # Calls cost a compiled lane nothing, so only who waits makes room for others.
    leisure = Leisure(LEAST_ROOM if compiled else 1)
    return Place(name, moved, alone, compiled, Threads(threads), leisure=leisure)


def _shown(network: object) -> str:
    """Return a network's spec for people, such as "mlp hidden=[64]"."""
    fields = dict(network) if isinstance(network, Mapping) else {}
    if "file" in fields:  # where it lies is its operator's affair
        fields = {"kind": f"{Path(fields['file']).name}:{fields.get('function')}", **dict(fields.get("options") or {})}
    options = " ".join(f"{name}={value}" for name, value in fields.items() if name not in {"kind", "initialisation"})
    return f"{fields.get('kind')} {options}".replace(", ", ",").strip()[:_NAME_CHARACTERS]
