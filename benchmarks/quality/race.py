"""One study of one sampler on one problem, trial by trial."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.quality.functions import Params
from benchmarks.quality.problems import problem
from benchmarks.quality.samplers import SAMPLERS

LOOKS = (25, 50, 100)


@dataclass(frozen=True, slots=True)
class Entry:
    """A study to run: so many trials in `parallel`, one of which ends, the oldest, before the next is asked for."""

    problem: str
    sampler: str
    seed: int
    parallel: int


def run(entry: Entry, looks: Sequence[int] = LOOKS) -> list[float]:
    """Return the regret of the point that looked best after so many trials had ended."""
    searched = problem(entry.problem)
    sampler = SAMPLERS[entry.sampler](searched, entry.seed, looks[-1])
    under_way: deque[tuple[int, Params, float]] = deque()
    best, regrets = (math.inf, math.inf), []

    def end() -> None:
        nonlocal best
        number, params, value = under_way.popleft()
        sampler.tell(number, value)
        if value < best[0]:
            best = value, searched.regret(params)
        regrets.append(best[1])

    for number in range(looks[-1]):
        if len(under_way) == entry.parallel:
            end()
        params = sampler.ask(number)
        under_way.append((number, params, searched.observe(params, entry.seed, number)))
    while under_way:
        end()
    return [regrets[look - 1] for look in looks]
