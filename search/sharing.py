"""How many trials of a study one worker takes at once: no more than leaves every other worker its share."""

from search.schema import BayesianSearch, StudyDefinition


def share(definition: StudyDefinition, *, budget: int, open_trials: int, workers: int) -> int:
    """Return the most trials of a study that one of `workers` holds at a time; at least 1.

    `open_trials` have no end yet and run or could start now. Points that a model suggests at once learn nothing from
    each other, so of those as many are out, over all workers, as are random at the start or an eighth of `budget`.
    """
    fair = _parts(open_trials, workers)
    if isinstance(definition.search, BayesianSearch):
        fair = min(fair, _parts(max(definition.search.startup, budget // 8), workers))
    return max(1, fair)


def _parts(whole: int, workers: int) -> int:
    """Divide among workers, rounded up."""
    return -(-whole // max(1, workers))
