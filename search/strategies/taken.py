"""Which points were tried: so that none is suggested twice while others are left."""

from collections import Counter

from search.records import Params
from search.space.plan import Plan, dedupe_key
from search.space.points import countable


class Taken:
    """The points of the trials known, by number. Two trials may have the same."""

    def __init__(self, plan: Plan) -> None:
        # Those of a wholly discrete space, by number.
        self.points = countable(plan)
        self._size = None if self.points is None else self.points.count()
        self._keys: dict[int, str] = {}
        self._times: Counter[str] = Counter()

    def __contains__(self, key: str) -> bool:
        return key in self._times

    @property
    def all(self) -> bool:
        """Whether no point is left."""
        return self._size is not None and len(self._times) >= self._size

    def put(self, number: int, params: Params | None) -> None:
        """Note a trial's point; None forgets it."""
        old = self._keys.pop(number, None)
        if old is not None:
            self._times[old] -= 1
            if not self._times[old]:
                del self._times[old]
        if params is not None:
            key = self._keys[number] = dedupe_key(params)
            self._times[key] += 1
