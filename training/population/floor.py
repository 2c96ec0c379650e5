"""The trials that one trainer holds at once: lanes side by side, taking turns, and those that cannot share one.

A trial that comes is begun and joins the lane that its network and batches fit into, where an epoch begins if that is
soon. A lane that waits for verdicts lets the others go on. Whatever happens to one trial is said of that trial alone.
"""

import json
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from training import loop, recipes
from training.channel import Channel, Outcome, Start, done_message
from training.course import Run
from training.memory import is_out_of_memory
from training.population.costs import Clock, fitted, room, shared_sizes
from training.population.lane import Lane
from training.population.limits import MOST, most_members
from training.population.seats import Follower, Outbox, Seat
from training.population.single import Single
from training.population.stacking import why_alone
from training.population.threads import Threads
from training.protocol import DEVICE, OUT_OF_MEMORY, RELEASED, tail
from training.recipes import Prepared
from training.watch import Ending

# How long one that comes waits for others of its lane to begin an epoch with them: those in step cost less.
PATIENCE_SECONDS = 0.3
# The room is said again once it has changed by this factor.
ROOM_CHANGE = 1.3
_IDLE_SECONDS = 1.0
_NAME_CHARACTERS = 80
_PASSES = 64

Reason = Callable[[Exception], str]


@dataclass(slots=True, eq=False)
class Place:
    """Where trials of one network, data and device are trained: their lanes, by the size of batches.

    `alone` says why they can share none. `most` is how many members memory has been seen to hold, `room` how many the
    supervisor was told.
    """

    name: str
    given: Prepared
    alone: str | None
    threads: Threads
    lanes: dict[int, Lane] = field(default_factory=dict)
    newcomers: list[Seat] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    most: int = MOST
    room: int = 1

    @property
    def runs(self) -> list[Run]:
        """All who are in its lanes."""
        return [run for lane in self.lanes.values() for run in lane.runs]


class Floor:
    """Trains all that its supervisor sends."""

    def __init__(self, channel: Channel, reason_of: Reason, *, threads: int = 1) -> None:
        """`reason_of` says in one line what an exception means for a trial; lanes may use so many `threads`."""
        self._channel = channel
        self._reason_of = reason_of
        self._most_threads = threads
        self._outbox = Outbox(channel)
        self._seats: dict[str, Seat] = {}
        self._by_run: dict[Run, Seat] = {}
        self._places: dict[str, Place] = {}
        self._turns: list[tuple[Place, Lane | Single]] = []

    def serve(self, first: Start) -> None:
        """Train a trial and all that come meanwhile, until none is left."""
        self._admit(first)
        while self._seats:
            self._listen(0.0)
            self._seat_newcomers()
            turn = self._next_turn()
            if turn is None:
                self._outbox.flush()
                self._listen(self._until_next())
            else:
                self._advance(*turn)

    def _listen(self, seconds: float) -> None:
        """Take what the supervisor has sent, waiting at most so long for the first of it."""
        while (message := self._channel.next_message(seconds)) is not None:
            seconds = 0.0
            if isinstance(message, Start):
                self._admit(message)
            elif message.trial in self._seats:
                self._seats[message.trial].follower.take(message)

    def _admit(self, start: Start) -> None:
        """Begin a trial; what its recipe raises is its outcome."""
        seat = Seat(start, Follower(self._channel, start, self._outbox))
        self._seats[start.trial] = seat
        try:
            given = recipes.prepare(start.objective, start.params, folder=start.data)
            place = self._place(start, given)
            seat.run = loop.start(
                place.given.network,
                place.given.data,
                given.plan,
                seed=start.seed,
                watch=seat.follower,
                device=given.device,
            )
        except Exception as error:  # noqa: BLE001 - a trial's error must end neither the others nor the trainer
            self._fail(seat, error)
            return
        self._by_run[seat.run] = seat
        place.newcomers.append(seat)

    def _place(self, start: Start, given: Prepared) -> Place:
        data, kind = given.data, json.dumps(start.objective.get("network"), sort_keys=True)
        parts = (kind, data.name, str(start.data), len(data.train), len(data.val), tuple(data.shape), str(given.device))
        key = repr(parts)
        if key not in self._places:
            moved = Prepared(given.network, data.to(given.device), given.plan, given.device)
            name = f"{_shown(start.objective.get('network'))}, {data.name}, {given.device.type}"
            self._places[key] = Place(name, moved, why_alone(given.network, moved.data), Threads(self._most_threads))
        return self._places[key]

    def _seat_newcomers(self) -> None:
        for place in self._places.values():
            if place.newcomers:
                self._seat(place)

    def _seat(self, place: Place) -> None:
        """Let those in who need not wait, each into the lane for its batches."""
        if place.alone is not None:
            for seat in place.newcomers:
                seat.alone = place.alone
                self._turns.append((place, Single(_run(seat))))
            place.newcomers = []
            return
        shared = shared_sizes(
            Counter(_size(run) for run in [*place.runs, *map(_run, place.newcomers)]), fitted(place.clock.known)
        )
        waiting = []
        for size in sorted(set(shared.values())):
            lane = self._lane(place, size)
            newcomers = [seat for seat in place.newcomers if shared[_size(_run(seat))] == size]
            if lane.steps_left and lane.steps_left * lane.step_seconds <= PATIENCE_SECONDS:
                waiting += newcomers
            else:
                self._join(place, lane, newcomers)
        place.newcomers = waiting

    def _lane(self, place: Place, size: int) -> Lane:
        if size not in place.lanes:
            place.lanes[size] = Lane(place.given.network, place.given.data, clock=place.clock, threads=place.threads)
            self._turns.append((place, place.lanes[size]))
        return place.lanes[size]

    def _join(self, place: Place, lane: Lane, newcomers: Sequence[Seat]) -> None:
        for seat in newcomers:
            seat.lane = place.name
        try:
            lane.join([_run(seat) for seat in newcomers])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._make_room(place, newcomers, error)

    def _move(self, place: Place, lane: Lane, size: int) -> None:
        """Where costs say by now that members belong into other lanes, have them change, once an epoch begins."""
        costs = fitted(place.clock.known)
        if costs is None or lane.steps_left:
            return
        shared = shared_sizes(Counter(map(_size, place.runs)), costs)
        leaving = [run for run in lane.runs if shared[_size(run)] != size]
        if leaving:
            lane.leave(leaving)
            place.newcomers += [self._by_run[run] for run in leaving]

    def _next_turn(self) -> tuple[Place, Lane | Single] | None:
        """Return the next lane, in turn, that has somebody in it and waits for no verdict."""
        self._turns = [turn for turn in self._turns if turn[1].runs or isinstance(turn[1], Lane)]
        for _ in range(len(self._turns)):
            turn = self._turns.pop(0)
            self._turns.append(turn)
            if turn[1].runs and not any(self._by_run[run].follower.waits_until for run in turn[1].runs):
                return turn
        return None

    def _until_next(self) -> float:
        """Return how long nothing can be done unless a message comes."""
        waits = [until for seat in self._seats.values() if (until := seat.follower.waits_until) is not None]
        return max(0.001, min(waits, default=time.monotonic() + _IDLE_SECONDS) - time.monotonic())

    def _advance(self, place: Place, lane: Lane | Single) -> None:
        began, runs = time.perf_counter(), lane.runs
        try:
            ended = lane.advance()
        except Exception as error:  # noqa: BLE001 - as above
            self._account(runs, time.perf_counter() - began)
            self._mend(place, lane, error)
        else:
            self._account(runs, time.perf_counter() - began)
            self._outbox.flush()
            for run, ending in ended:
                self._end(self._by_run[run], ending)
        self._say_room(place)
        for size, each in place.lanes.items():
            if each is lane:
                self._move(place, lane, size)

    def _account(self, runs: Sequence[Run], seconds: float) -> None:
        for run in runs:
            seat = self._by_run[run]
            seat.seconds += seconds / len(runs)
            seat.population = max(seat.population, len(runs))

    def _end(self, seat: Seat, ending: Ending) -> None:
        reason = seat.follower.reason if ending.outcome == "stopped" else ending.reason
        self._done(seat, Outcome(ending.outcome, reason, ran=seat.ran))

    def _fail(self, seat: Seat, error: Exception) -> None:
        trace = tail("".join(traceback.format_exception(error)))
        self._done(seat, Outcome("failed", self._reason_of(error), trace, ran=seat.ran))

    def _done(self, seat: Seat, outcome: Outcome) -> None:
        del self._seats[seat.start.trial]
        if seat.run is not None:
            del self._by_run[seat.run]
        self._outbox.flush()
        self._channel.send(done_message(seat.start.trial, outcome))

    def _mend(self, place: Place, lane: Lane | Single, error: Exception) -> None:
        """A step could not be taken: make room where memory ran out, else train each alone, so that one fails alone."""
        seats = [self._by_run[run] for run in lane.runs]
        if self._reason_of(error) == DEVICE:
            # Nothing can be had back from it, and nothing else can be trained on it by this process.
            for seat in list(self._seats.values()):
                self._fail(seat, error)
            self._turns, self._places = [], {}
        elif len(seats) == 1:
            lane.leave(lane.runs)
            self._fail(seats[0], error)
        elif is_out_of_memory(error):
            leaving = seats[(len(seats) + 1) // 2 :]
            lane.leave([_run(seat) for seat in leaving])
            self._make_room(place, leaving, error)
        else:
            lane.leave(lane.runs)
            for seat in seats:
                seat.alone = f"a step of its lane failed: {self._reason_of(error)}"
                self._turns.append((place, Single(_run(seat))))

    def _make_room(self, place: Place, seats: Sequence[Seat], error: Exception) -> None:
        """Give these trials back, and say that fewer fit; one that does not even fit alone has failed."""
        left = len(place.runs)
        if not left and len(seats) == 1:
            self._fail(seats[0], error)
            return
        for seat in seats:
            self._done(seat, Outcome(RELEASED, f"{OUT_OF_MEMORY}: its lane had to shrink to {left}", ran=seat.ran))
        place.most = max(1, left)
        self._say_room(place)

    def _say_room(self, place: Place) -> None:
        """Say how many pay here, if that has changed by much."""
        runs = place.runs
        if place.alone is not None or not runs:
            return
        most = min(place.most, most_members(runs[0], members=len(runs), example_bytes=_example_bytes(place)))
        wanted = room(fitted(place.clock.known), {size for size, lane in place.lanes.items() if lane.runs}, most=most)
        if not place.room / ROOM_CHANGE < wanted < place.room * ROOM_CHANGE:
            place.room = wanted
            self._channel.send({"type": "room", "members": wanted, "lane": place.name})


def _run(seat: Seat) -> Run:
    if seat.run is None:
        raise RuntimeError(f"trial {seat.start.trial} has not begun")
    return seat.run


def _size(run: Run) -> int:
    return run.course.batch_size


def _shown(network: object) -> str:
    """Return a network's spec for people, such as "mlp hidden=[64]"."""
    fields = dict(network) if isinstance(network, Mapping) else {}
    options = " ".join(f"{name}={value}" for name, value in fields.items() if name not in {"kind", "initialisation"})
    return f"{fields.get('kind')} {options}".replace(", ", ",").strip()[:_NAME_CHARACTERS]


def _example_bytes(place: Place) -> int:
    """Return a rough guess at what an example needs on its way through a network: itself, forth and back."""
    return 4 * _PASSES * (place.given.data.features + place.given.data.outputs)
