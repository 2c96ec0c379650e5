"""What a study that says `auto` starts with: found before it is created, stored as it is."""

from collections.abc import Sequence
from typing import Any

import pytest

from models.enqueueing import Entry
from models.ids import show_study
from search.studies import service
from search.studies.starting import look_back
from tests.support.ledger import Ledger, definition, drain

AUTO: Any = definition(warm_start="auto", trials=8)


def _earlier(ledger: Ledger, *highs: float) -> list[str]:
    """Run a study to its end for each upper end of the rate; return their ids."""
    lr = definition()["space"]["lr"]
    spaces = [{**definition()["space"], "lr": {**lr, "high": high}} for high in highs]
    made = [ledger.create({**definition(trials=3), "space": space}) for space in spaces]
    drain(ledger.worker())
    return made


def _started(ledger: Ledger, found: Sequence[Entry] | None) -> list[tuple[Any, Any]]:
    """Create a study with what a look back found; return the points and their origins that it starts with."""
    made = ledger.database.write(
        lambda c: service.create_study(c, ledger.project, AUTO, now=ledger.clock(), found=found)
    )
    return [(trial.params, trial.why) for trial in ledger.trials(show_study(made.view.record.id))]


def test_a_look_back_finds_what_a_creation_would(ledger: Ledger) -> None:
    near, nearer = _earlier(ledger, 0.1, 0.5)
    found = look_back(ledger.database, ledger.project, AUTO)
    started = _started(ledger, found)
    assert [why["study"] for _, why in started] == [nearer] * 3 + [near]
    assert _started(ledger, None) == started


def test_points_outlive_their_study(ledger: Ledger) -> None:
    """It may be deleted between the look back and the creation, as it may be later."""
    (old,) = _earlier(ledger, 0.1)
    found = look_back(ledger.database, ledger.project, AUTO)
    ledger.database.write(lambda c: service.delete_study(c, ledger.project, old))
    assert [why["study"] for _, why in _started(ledger, found)] == [old] * 3


def test_a_study_that_ends_meanwhile_comes_too_late(ledger: Ledger) -> None:
    found = look_back(ledger.database, ledger.project, AUTO)
    _earlier(ledger, 0.1)
    assert (found, _started(ledger, found)) == ([], [])


@pytest.mark.parametrize(
    "raw", [definition(), definition(warm_start="off"), definition("no such", warm_start="auto"), [], None]
)
def test_without_auto_nobody_looks_back(ledger: Ledger, raw: object) -> None:
    _earlier(ledger, 0.1)
    assert look_back(ledger.database, ledger.project, raw) is None
