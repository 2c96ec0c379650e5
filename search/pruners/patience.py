"""Patience: a trial whose own score has not improved in its last measurements stops.

With a rule inside, that one must agree: as Optuna's PatientPruner has it, nothing is stopped that still improves.
"""

from collections.abc import Sequence

from search.definition.prunings import PatiencePruning


def verdict(pruning: PatiencePruning, curve: Sequence[float]) -> str | None:
    """Say why a trial stops whose scores were these, in the order of their steps; None while it goes on.

    It stops if min(the last `patience`) >= min(those before) - min_delta, so not before measurement `patience` + 1.
    """
    recent, before = curve[-pruning.patience :], curve[: -pruning.patience]
    if not before or min(recent) < min(before) - pruning.min_delta:
        return None
    more = f" of more than {pruning.min_delta:g}" if pruning.min_delta else ""
    return f"patience: no improvement{more} in {pruning.patience} measurements"
