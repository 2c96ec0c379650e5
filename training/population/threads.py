"""How many threads a lane is stepped with: as many as are fastest, by measurement. Small members mostly want one."""

from collections import Counter, defaultdict

# Each number of threads is tried for so many steps before one is chosen.
TRIED_STEPS = 12


class Threads:
    """Chooses among 1, 2, 4 ... `most` threads, for each magnitude of a step anew."""

    def __init__(self, most: int) -> None:
        """Use `most` threads at most, at least 1."""
        self._choices = [*_doubled(most)]
        self._shortest: dict[int, dict[int, float]] = defaultdict(dict)
        self._steps: Counter[tuple[int, int]] = Counter()

    def wanted(self, examples: int) -> int:
        """Return with how many threads to take the next step, of so many examples in all."""
        kind = examples.bit_length()
        untried = [count for count in self._choices if self._steps[kind, count] < TRIED_STEPS]
        if untried and len(self._choices) > 1:
            return untried[0]
        seen = self._shortest[kind]
        return min(self._choices, key=lambda count: seen.get(count, 0.0))

    def settled(self, examples: int) -> bool:
        """Say whether all were tried for such a step."""
        kind = examples.bit_length()
        return len(self._choices) == 1 or all(self._steps[kind, count] >= TRIED_STEPS for count in self._choices)

    def take(self, examples: int, count: int, seconds: float) -> None:
        """Take how long a step of so many examples took with so many threads."""
        kind = examples.bit_length()
        self._steps[kind, count] += 1
        self._shortest[kind][count] = min(seconds, self._shortest[kind].get(count, seconds))


def _doubled(most: int) -> list[int]:
    counts = [1]
    while counts[-1] * 2 < most:
        counts.append(counts[-1] * 2)
    return counts if most == 1 else [*counts, most]
