"""How many trials of a study one worker takes at once: no more than leaves every other worker its share."""

from search.definition.schema import StudyDefinition
from search.definition.searches import BayesianSearch, CmaesSearch, Nsga2Search, PbtSearch


def share(definition: StudyDefinition, *, budget: int, finished: int, open_trials: int, workers: int) -> int:
    """Return the most trials of a study that one of `workers` holds at a time; at least 1.

    `open_trials` have no end yet and run or could start now. Points that a model suggests at once learn nothing from
    each other, so of those few are out, over all workers: as many as are random at the start, and later a quarter of
    those that have `finished`, but no more than an eighth of the `budget`. Of points that are bred a generation
    is, and of lineages the population.
    """
    fair = _parts(open_trials, workers)
    first = _at_first(definition)
    if first is not None:
        learned = min(finished // 4, budget // 8)
        fair = min(fair, _parts(max(first, learned), workers))
    if isinstance(definition.search, Nsga2Search):
        fair = min(fair, _parts(definition.search.population_size, workers))
    if isinstance(definition.search, PbtSearch):
        fair = min(fair, _parts(definition.search.population, workers))
    return max(1, fair)


def _at_first(definition: StudyDefinition) -> int | None:
    """Return how many points may be out before anything is learned; None where nothing ever is."""
    search = definition.search
    if isinstance(search, BayesianSearch):
        return search.startup
    return search.generation(len(definition.space)) if isinstance(search, CmaesSearch) else None


def _parts(whole: int, workers: int) -> int:
    """Divide among workers, rounded up."""
    return -(-whole // max(1, workers))
