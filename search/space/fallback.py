"""Where to look for another point when the one wanted was drawn before: at random, then through all that is left."""

from collections.abc import Iterator

from search.space.parameters import Point
from search.space.plan import Plan, draw
from search.space.points import GRID_LIMIT, Points
from search.space.sampling import Draws, shuffled

_RANDOM_TRIES = 32


def fallback_points(plan: Plan, points: Points | None, *, seed: int, index: int) -> Iterator[tuple[str, Point]]:
    """Yield (how, point) for one draw index: random draws, then a discrete space's points in the seed's order.

    `points` are those of a wholly discrete space, else None; one too large to walk through is not walked.
    """
    for attempt in range(_RANDOM_TRIES):
        yield "random", draw(plan, Draws(seed, index, salt=attempt))
    size = points.count() if points is not None else 0
    if points is not None and size <= GRID_LIMIT:
        order = shuffled(size, seed=seed)
        for place in range(size):
            yield "remaining", points.point(order(place))
