"""How many threads a lane is stepped with: as many as are fastest, by measurement. Small members mostly want one."""

from collections import Counter, defaultdict

# Each number of threads is tried for so many steps before one is chosen: the largest first, and fewer only where a step
# is shorter than this, for a long one wants all there are.
TRIED_STEPS = 12
LONG_SECONDS = 0.5


class Threads:
    """Chooses among 1, 2, 4 ... `most` threads, for each magnitude of a step anew."""

    def __init__(self, most: int) -> None:
        """Use `most` threads at most, at least 1."""
        self._choices = sorted(_doubled(most), reverse=True)
        self._shortest: dict[int, dict[int, float]] = defaultdict(dict)
        self._steps: Counter[tuple[int, int]] = Counter()

    @property
    def most(self) -> int:
        """How many there are."""
        return self._choices[0]

    def wanted(self, examples: int) -> int:
        """Return with how many threads to take the next step, of so many examples in all."""
        untried = self._untried(examples)
        if untried:
            return untried[0]
        seen = self._shortest[examples.bit_length()]
        return min(seen, key=seen.__getitem__) if seen else self._choices[0]

    def settled(self, examples: int) -> bool:
        """Say whether all were tried for such a step."""
        return not self._untried(examples)

    def take(self, examples: int, count: int, seconds: float, *, steps: int = 1) -> None:
        """Take how long a step of so many examples took with so many threads, or each of several."""
        kind = examples.bit_length()
        self._steps[kind, count] += steps
        self._shortest[kind][count] = min(seconds, self._shortest[kind].get(count, seconds))

    def _untried(self, examples: int) -> list[int]:
        kind = examples.bit_length()
        most = self._choices[0]
        if len(self._choices) == 1 or self._shortest[kind].get(most, 0.0) > LONG_SECONDS:
            return []
        return [count for count in self._choices if self._steps[kind, count] < TRIED_STEPS]


def _doubled(most: int) -> list[int]:
    counts = [1]
    while counts[-1] * 2 < most:
        counts.append(counts[-1] * 2)
    return counts if most == 1 else [*counts, most]
