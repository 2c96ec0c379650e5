"""No point twice on a wholly discrete space, while undrawn points remain.

The keys are looked up under the study's lock, which every claim takes, so what was free stays free until it is written.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from models.claims import Claimed
from models.session import Connection
from models.trials import taken_keys
from search.definition.parse import StudyDefinition
from search.definition.planning import plan_of
from search.records import Suggestion
from search.space.fallback import fallback_points
from search.space.plan import dedupe_key
from search.space.points import discrete


def settle(
    connection: Connection,
    study_id: int,
    definition: StudyDefinition,
    seed: int,
    waiting: Sequence[Claimed],
    suggestions: Sequence[Suggestion],
) -> list[Suggestion]:
    """Replace each suggestion whose point was drawn before (in the ledger or in this batch) by one that was not."""
    keys = [suggestion.dedupe_key for suggestion in suggestions if suggestion.dedupe_key is not None]
    taken = taken_keys(connection, study_id, keys) if keys else set()
    settled: list[Suggestion] = []
    for claim, suggestion in zip(waiting, suggestions, strict=True):
        chosen = suggestion
        if suggestion.dedupe_key is not None and suggestion.dedupe_key in taken:
            chosen = _another(connection, study_id, definition, seed, claim.draw or 0, suggestion, taken)
        if chosen.dedupe_key is not None:
            taken.add(chosen.dedupe_key)
        settled.append(chosen)
    return settled


def _another(
    connection: Connection,
    study_id: int,
    definition: StudyDefinition,
    seed: int,
    draw: int,
    doubled: Suggestion,
    taken: set[str],
) -> Suggestion:
    """Draw at random, then walk the whole space; once every point is drawn the doubled one stands, without a key."""
    the_plan = plan_of(definition)
    candidates = (point for _, point in fallback_points(the_plan, discrete(the_plan), seed=seed, index=draw))
    while batch := list(islice(candidates, 256)):
        keys = {dedupe_key(params): params for params in batch}
        free = [key for key in keys if key not in taken]
        free = [key for key in free if key not in taken_keys(connection, study_id, free)] if free else []
        if free:
            why = {**doubled.why, "instead_of": doubled.dedupe_key}
            return replace(doubled, params=keys[free[0]], origin="random", dedupe_key=free[0], why=why)
    return replace(doubled, dedupe_key=None)
