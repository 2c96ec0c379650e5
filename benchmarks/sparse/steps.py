"""How long one step takes, on random batches of random data: contenders take turns, block by block, in one process.

On one thread its own processor time counts, in which a busy machine shows less; on several it is what a clock shows.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.sparse.contenders import DENSE_FORMS, WAYS, Problem, Step, fused, problem, stepped, trainer

EXAMPLES = 1024
BATCHES = (1, 16, 128)
# After so many steps everybody is warm, and our trainer has found its way after so many more, or so many seconds.
WARM = 6
SETTLED, SETTLED_SECONDS = 160, 2.0
BLOCK_SECONDS, MOST = 0.15, 64
# Fewer rounds are taken where all of them would take longer than this, but not fewer than so many.
PLACE_SECONDS, FEWEST = 10.0, 3
# Our trainer looks around after so many steps with lists: a block of small batches is to have that in it.
WINDOW = 32
# What our trainer is told it will be asked for: it weighs the building of lists against that.
ASKED = 10_000
# Copies of the weights that are held at a time: three trainers, two snapshots of lists, three dense forms, a gradient.
_COPIES = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A layer of m neurons (`width`) of d inputs (`features`), batches of B (`batch`), on so many threads."""

    features: int
    width: int
    batch: int
    threads: int

    @property
    def bytes(self) -> float:
        """About how much memory the contenders need."""
        return 4.0 * self.width * (_COPIES * self.features + 8 * self.batch + EXAMPLES // 10)


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds of one step of each contender, what `auto` chose, and by how much losses differ at most, relatively."""

    place: Place
    times: Mapping[str, float]
    chosen: str
    apart: float

    @property
    def dense(self) -> str:
        """Which dense form is the fastest."""
        return min(DENSE_FORMS, key=self.times.__getitem__)

    @property
    def gain(self) -> float:
        """The time of the best dense form over that of lists."""
        return self.times[self.dense] / self.times["lists"]

    @property
    def bound(self) -> float:
        """The time of the two matrix products alone, or the best dense form if that is shorter, over that of lists."""
        return min(self.times["fused"], self.times[self.dense]) / self.times["lists"]

    @property
    def choice(self) -> float:
        """The time of lists or the best dense form, whichever is better, over that of `auto`."""
        return min(self.times["lists"], self.times[self.dense]) / self.times["auto"]


def clock(threads: int) -> Callable[[], float]:
    """Return what is read before and after."""
    return time.thread_time if threads == 1 else time.perf_counter


def data(features: int) -> tuple[Tensor, Tensor]:
    """Return inputs uniform on the sphere, and the sign of their first feature."""
    inputs = torch.nn.functional.normalize(torch.randn(EXAMPLES, features, generator=torch.Generator().manual_seed(0)))
    return inputs, inputs[:, 0].sign()


def timed(place: Place, rounds: int) -> Timed:
    """Time everybody there: the median over so many rounds, or fewer where steps are slow."""
    given = problem(place.width, *data(place.features), lr=1.0)
    trained = {way: trainer(given.copied, way, steps=ASKED, threads=place.threads) for way in WAYS}
    steps: dict[str, Step] = {way: stepped(given, each) for way, each in trained.items()}
    steps |= {name: make(given.copied) for name, make in DENSE_FORMS.items()}
    steps["fused"] = fused(given)
    losses: dict[str, list[Tensor]] = {name: [] for name in steps}
    generator = torch.Generator().manual_seed(place.batch)
    for _ in range(WARM):
        warm = _block(steps, _batches(place, 1, generator), losses, 0, place.threads)
    settling = min(SETTLED, int(SETTLED_SECONDS / sum(warm.values())))
    if settling:
        warm = _block(steps, _batches(place, settling, generator), losses, 0, place.threads)
    count = max(1, WINDOW // place.batch, min(MOST, int(BLOCK_SECONDS / max(warm.values()))))
    rounds = min(rounds, max(FEWEST, int(PLACE_SECONDS / (count * sum(warm.values())))))
    blocks = [_block(steps, _batches(place, count, generator), losses, turn, place.threads) for turn in range(rounds)]
    times = {name: 1e3 * statistics.median(block[name] for block in blocks) for name in steps}
    return Timed(place, times, trained["auto"].way, apart({name: losses[name] for name in (*WAYS, *DENSE_FORMS)}))


def apart(losses: Mapping[str, Sequence[Tensor]]) -> float:
    """Return by how much the losses of the contenders differ at most from the first one's: of a batch's mean, relatively."""
    means = torch.stack([torch.stack([each.mean() for each in own]) for own in losses.values()])
    return ((means - means[0]).abs() / means[0].abs().clamp(min=1e-6)).max().item()


def _batches(place: Place, count: int, generator: torch.Generator) -> list[Tensor]:
    return [torch.randint(0, EXAMPLES, (place.batch,), generator=generator) for _ in range(count)]


def _block(
    steps: Mapping[str, Step], batches: Sequence[Tensor], losses: Mapping[str, list[Tensor]], turn: int, threads: int
) -> dict[str, float]:
    """Have everybody take the same steps, in the order of the turn; return the seconds of one step."""
    spent, now = {}, clock(threads)
    for name in in_turn(list(steps), turn):
        began = now()
        taken = [steps[name](numbers) for numbers in batches]
        spent[name] = (now() - began) / len(batches)
        losses[name].extend(taken)
    return spent


def in_turn(names: Sequence[str], turn: int) -> Sequence[str]:
    """Return the names beginning with another one each turn, and every other turn backwards: all meet different neighbours."""
    first = turn % len(names)
    order = [*names[first:], *names[:first]]
    return order[::-1] if turn % 2 else order


def best_dense(given: Problem, batch: int, *, threads: int, tries: int = 7) -> str:
    """Return the name of the dense form whose steps are the fastest, the median of some."""
    steps = {name: make(given.copied) for name, make in DENSE_FORMS.items()}
    losses: dict[str, list[Tensor]] = {name: [] for name in steps}
    batches = [torch.arange(batch) % len(given.inputs)]
    blocks = [_block(steps, batches, losses, turn, threads) for turn in range(tries)]
    return min(steps, key=lambda name: statistics.median(block[name] for block in blocks[1:]))
