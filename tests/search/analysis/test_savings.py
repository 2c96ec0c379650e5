"""What pruning saved, beside a count step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.analysis.savings import Spent, savings

TRIALS = st.lists(
    st.builds(
        Spent,
        state=st.sampled_from(["completed", "pruned", "diverged", "failed", "cancelled"]),
        steps=st.integers(0, 12),
        seconds=st.none() | st.floats(0, 100),
    ),
    max_size=30,
)


@given(TRIALS, st.none() | st.integers(1, 12))
def test_it_counts_what_was_run_and_what_was_not(trials: list[Spent], last_step: int | None) -> None:
    found = savings(trials, last_step=last_step)
    full = last_step or max([t.steps for t in trials if t.state == "completed"], default=0)
    run, saved = 0, 0
    for trial in trials:
        for step in range(1, 13):
            run += step <= trial.steps
            saved += trial.state == "pruned" and trial.steps < step <= full
    assert (found.steps_run, found.steps_saved) == (run, saved)
    assert found.share == (None if run + saved == 0 else pytest.approx(saved / (run + saved)))
    assert found.pruned == sum(trial.state == "pruned" for trial in trials)
    assert (found.seconds_run is None) == all(trial.seconds is None for trial in trials)


def test_seconds_are_saved_at_each_trials_own_pace() -> None:
    trials = [
        Spent("completed", 10, 20.0),
        Spent("pruned", 2, 6.0),
        Spent("pruned", 5, None),
        Spent("diverged", 1, 1.0),
    ]
    found = savings(trials, last_step=10)
    assert (found.steps_run, found.steps_saved, found.full_steps) == (18, 13, 10)
    assert (found.seconds_run, found.seconds_saved) == (27.0, 24.0)


def test_without_a_known_end_nothing_is_said_to_be_saved() -> None:
    found = savings([Spent("pruned", 3, None)], last_step=None)
    assert (found.full_steps, found.steps_saved, found.share) == (None, 0, 0.0)
    assert savings([], last_step=20).share is None
