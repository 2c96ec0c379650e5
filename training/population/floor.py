"""The trials that one trainer holds at once: lanes side by side, taking turns, and those that cannot share one.

A trial that comes is begun and joins the lane that its network and batches fit into, where an epoch begins if that is
soon. A lane that waits for verdicts lets the others go on. Whatever happens to one trial is said of that trial alone.
"""

import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from training import loop, recipes
from training.channel import Channel, Outcome, Start, done_message
from training.course import Run, needs_less, obey
from training.memory import OutOfMemory, is_out_of_memory
from training.population.lane import Lane
from training.population.limits import MOST
from training.population.places import Place, key_of, place_for
from training.population.seats import Follower, Outbox, Seat
from training.population.single import Single
from training.precision import products_in
from training.protocol import DEVICE, OUT_OF_MEMORY, RELEASED, tail
from training.recipes import Prepared
from training.watch import Ending, Pause

# How long one that comes waits for others of its lane to begin an epoch with them: those in step cost less.
PATIENCE_SECONDS = 0.3
# If no more than this share of a lane waits for verdicts, it goes on without them.
FEW_SHARE = 0.5
# Of so many kinds of trials a trainer remembers what they cost.
MOST_PLACES = 16
_IDLE_SECONDS = 1.0

Reason: TypeAlias = Callable[[Exception], str]
Turn: TypeAlias = tuple[Place, Lane | Single]


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
        # Those for whom there was no memory beside others: they wait until they have it for themselves.
        self._postponed: dict[Seat, Place | None] = {}
        self._turns: deque[Turn] = deque()

    def serve(self, first: Start) -> None:
        """Train a trial and all that come meanwhile, until none is left."""
        for place in self._places.values():
            place.room, place.most, place.look_at = 1, MOST, 0.0  # who sends these has been told nothing yet
        self._admit(first)
        while self._seats:
            self._listen(0.0)
            for place in self._places.values():
                self._call_back(place)
                self._seat(place)
            self._mind_postponed()
            turn = self._next_turn()
            if turn is not None:
                self._advance(*turn)
            elif self._seats:
                self._rest()
        while len(self._places) > MOST_PLACES:
            del self._places[next(iter(self._places))]

    def _rest(self) -> None:
        """Wait for a message. With more trials there would have been something to do, if it was not them that are missing."""
        self._outbox.flush()
        began = time.perf_counter()
        self._listen(self._until_next())
        for place in self._places.values():
            if 2 * len(self._seats) > place.room:
                place.leisure.rest(time.perf_counter() - began)

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
        self._begin(seat)

    def _begin(self, seat: Seat) -> None:
        start = seat.start
        try:
            given = recipes.prepare(start.objective, start.params, folder=start.data)
            place = self._place(start, given)
            network, data, plan = place.given.network, place.given.data, given.plan
            run = loop.start(network, data, plan, seed=start.seed, watch=seat.follower, device=given.device)
        except Exception as error:  # noqa: BLE001 - a trial's error must end neither the others nor the trainer
            self._refuse(seat, error)
            return
        seat.run = run
        self._by_run[run] = seat
        why = place.why_alone(run)
        if why is None:
            place.newcomers.append(seat)
        else:
            self._train_alone(place, seat, why)

    def _place(self, start: Start, given: Prepared) -> Place:
        key = key_of(start, given)
        if key not in self._places:
            self._places[key] = place_for(start, given, threads=self._most_threads)
        return self._places[key]

    def _train_alone(self, place: Place, seat: Seat, why: str) -> None:
        seat.alone = why
        self._turns.append((place, Single(seat.begun)))

    def _seat(self, place: Place) -> None:
        """Let those into their lanes who need not wait."""
        if not place.newcomers:
            return
        seats, place.newcomers = place.newcomers, []
        shared = place.shared([seat.begun for seat in seats])
        for size in sorted(set(shared.values())):
            lane = place.lane(size)
            newcomers = [seat for seat in seats if shared[seat.begun.course.batch_size] == size]
            if 0 < lane.steps_left * lane.step_seconds <= PATIENCE_SECONDS:
                place.newcomers += newcomers
            elif newcomers:
                self._join(place, lane, newcomers)

    def _join(self, place: Place, lane: Lane, newcomers: Sequence[Seat]) -> None:
        if all(turn[1] is not lane for turn in self._turns):
            self._turns.append((place, lane))
        for seat in newcomers:
            seat.lane = place.name
        try:
            lane.join([seat.begun for seat in newcomers])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._shrink(place, newcomers, error)

    def _waiting(self, lane: Lane | Single) -> list[Run]:
        """Return who waits for a verdict."""
        return [run for run in lane.runs if self._by_run[run].follower.waits_until]

    def _step_aside(self, place: Place, lane: Lane | Single) -> None:
        """Where few wait for verdicts, take them out, lest the others wait with them."""
        waiting = self._waiting(lane)
        if isinstance(lane, Lane) and not lane.choosy and 0 < len(waiting) <= FEW_SHARE * len(lane.runs):
            lane.leave(waiting)
            place.aside += [self._by_run[run] for run in waiting]

    def _let_look_back(self, place: Place, lane: Lane | Single) -> None:
        """Take out those that have curvature to look at behind their last batch, which is each one's own affair."""
        looking = [run for run in lane.runs if run.looks_back]
        if isinstance(lane, Lane) and looking:
            lane.leave(looking)
            self._turns += [(place, Single(run)) for run in looking]

    def _call_back(self, place: Place) -> None:
        """Let those rejoin, or end, who have their verdicts."""
        heard = [seat for seat in place.aside if not seat.follower.waits_until]
        place.aside = [seat for seat in place.aside if seat not in heard]
        for seat in heard:
            if obey(seat.begun, seat.follower.between()):
                self._end(seat, Ending("stopped"))
            else:
                place.newcomers.append(seat)

    def _resettle(self, place: Place) -> None:
        """Where costs say by now that members belong into other lanes, have them change as an epoch begins."""
        if place.costs is None:
            return
        shared = place.shared()
        for size, lane in place.lanes.items():
            leaving = [run for run in lane.runs if shared[run.course.batch_size] != size]
            if leaving and not lane.steps_left:
                lane.leave(leaving)
                place.newcomers += [self._by_run[run] for run in leaving]

    def _next_turn(self) -> Turn | None:
        """Return the next lane, in turn, that can go on without the verdicts it waits for; who is empty has no turn any more."""
        for _ in range(len(self._turns)):
            turn = self._turns.popleft()
            if turn[1].runs:
                self._turns.append(turn)
                waiting = len(self._waiting(turn[1]))
                if waiting == 0 or (turn[1].choosy and waiting < len(turn[1].runs)):
                    return turn
        return None

    def _until_next(self) -> float:
        """Return how long nothing can be done unless a message comes."""
        waits = [until for seat in self._seats.values() if (until := seat.follower.waits_until) is not None]
        return max(0.001, min(waits, default=time.monotonic() + _IDLE_SECONDS) - time.monotonic())

    def _advance(self, place: Place, lane: Lane | Single) -> None:
        began, runs = time.perf_counter(), lane.runs
        try:
            with products_in(place.given.precision):
                ended = lane.advance(self._waiting(lane))
        except Exception as error:  # noqa: BLE001 - as above
            self._account(runs, time.perf_counter() - began)
            self._mend(place, lane, error)
        else:
            took = time.perf_counter() - began
            self._account(runs, took)
            place.leisure.work(took)
            self._outbox.flush()
            for run, ending in ended:
                self._end(self._by_run[run], ending)
            if place.looks_again(began):
                self._say_room(place)
                self._resettle(place)
            self._step_aside(place, lane)
            self._let_look_back(place, lane)

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
        traceback.clear_frames(error.__traceback__)  # they hold what the step had in memory
        for run, ending in lane.take_left():
            self._end(self._by_run[run], ending)
        if self._reason_of(error) == DEVICE:
            self._give_up(error)
            return
        seats = [self._by_run[run] for run in lane.runs]
        halved = is_out_of_memory(error) and len(seats) > 1
        leaving = seats[(len(seats) + 1) // 2 :] if halved else seats
        lane.leave([seat.begun for seat in leaving])
        if is_out_of_memory(error):
            self._shrink(place, leaving, error)
        elif len(seats) == 1:
            self._fail(seats[0], error)
        else:
            for seat in seats:
                self._train_alone(place, seat, f"a step of its lane failed: {self._reason_of(error)}")

    def _give_up(self, error: Exception) -> None:
        """Nothing can be had back from a device that failed, and nothing else be trained on it by this process."""
        for seat in list(self._seats.values()):
            self._fail(seat, error)
        self._places.clear()
        self._turns.clear()
        self._postponed.clear()

    def _shrink(self, place: Place, leaving: Sequence[Seat], error: Exception) -> None:
        """Give trials back for whom memory ran out, and say that fewer fit. One alone waits, or has failed."""
        kept = len(place.runs)
        if len(leaving) == 1:
            self._refuse(leaving[0], error, place)
        elif kept == 0:
            # Nobody of many could join: half of them may.
            place.newcomers += leaving[: len(leaving) // 2]
            leaving, kept = leaving[len(leaving) // 2 :], len(leaving) // 2
        if len(leaving) > 1:
            for seat in leaving:
                self._done(seat, Outcome(RELEASED, f"{OUT_OF_MEMORY}: its lane had to shrink to {kept}", ran=seat.ran))
        place.room = place.most = max(1, kept)
        self._channel.send({"type": "room", "members": place.room, "lane": place.name})

    def _refuse(self, seat: Seat, error: Exception, place: Place | None = None) -> None:
        """End a trial with its error; where it only lacked the memory that others hold, it waits until they have gone."""
        others = any(each is not seat and each not in self._postponed for each in self._seats.values())
        if is_out_of_memory(error) and others:
            self._postponed[seat] = place
        elif is_out_of_memory(error) and seat.run is not None:
            self._fail(seat, OutOfMemory(needs_less(seat.run.course)))
        else:
            self._fail(seat, error)

    def _mind_postponed(self) -> None:
        """Let those end that are to stop, and go on with one once nobody else is here."""
        for seat in list(self._postponed):
            pause = seat.follower.between()
            if obey(seat.run, pause) if seat.run is not None else Pause.STOP in pause:
                del self._postponed[seat]
                self._end(seat, Ending("stopped"))
        if self._postponed and len(self._postponed) == len(self._seats):
            seat, place = self._postponed.popitem()
            if place is None:
                self._begin(seat)
            else:
                place.newcomers.append(seat)

    def _say_room(self, place: Place) -> None:
        wanted = place.news()
        if wanted is not None:
            self._channel.send({"type": "room", "members": wanted, "lane": place.name})
