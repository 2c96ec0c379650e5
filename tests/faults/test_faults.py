"""Twenty random faults with a fixed seed: the ledger keeps every promise. `make faults` does the same for longer."""

import pytest

from tests.faults.driver import Plan, run

FAULTS = 20


def test_twenty_faults() -> None:
    """The same faults in the same order every time; when exactly each one hits is up to the machine."""
    report = run(Plan(seed=20, faults=FAULTS, trials_per_fault=0))
    assert report.violations == [], f"seed {report.seed}, kept in {report.folder}"
    assert sum(report.faults.values()) == FAULTS
    assert len(report.faults) >= FAULTS // 2, "faults of many kinds"
    assert report.trials >= 5 * FAULTS
    assert report.lost > 0, "no attempt was lost, so no lease was tried"


@pytest.mark.slow
def test_processes_that_share_a_sqlite_file() -> None:
    report = run(Plan(seed=21, faults=FAULTS, sqlite=True, trials_per_fault=0))
    assert report.violations == [], f"seed {report.seed}, kept in {report.folder}"
    assert report.trials >= 5 * FAULTS
    assert report.lost > 0
