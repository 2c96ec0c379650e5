"""The tables of moves, and that final states are final."""

from models.states import (
    FINAL_TRIAL_STATES,
    STUDY_MOVES,
    TRIAL_MOVES,
    StudyState,
    TrialState,
    sources,
    study_sources,
)


def test_every_state_has_its_moves() -> None:
    assert set(TRIAL_MOVES) == set(TrialState)
    assert set(STUDY_MOVES) == set(StudyState)


def test_the_only_way_out_of_a_final_state_is_a_retry() -> None:
    ways_out = {(state, target) for state in FINAL_TRIAL_STATES for target in TRIAL_MOVES[state]}
    assert ways_out == {(TrialState.FAILED, TrialState.QUEUED)}
    assert not {TrialState.QUEUED, TrialState.RUNNING} & FINAL_TRIAL_STATES


def test_a_running_trial_may_end_in_any_way_or_wait_again() -> None:
    assert TRIAL_MOVES[TrialState.RUNNING] == {*FINAL_TRIAL_STATES, TrialState.QUEUED}


def test_a_waiting_trial_never_ends_with_a_result() -> None:
    assert TRIAL_MOVES[TrialState.QUEUED] == {TrialState.RUNNING, TrialState.CANCELLED, TrialState.PRUNED}


def test_a_cancelled_study_stays_so() -> None:
    assert STUDY_MOVES[StudyState.CANCELLED] == frozenset()


def test_more_budget_or_another_try_reopens_a_study() -> None:
    assert STUDY_MOVES[StudyState.COMPLETED] == STUDY_MOVES[StudyState.FAILED] == {StudyState.RUNNING}


def test_live_studies_end_in_the_same_ways() -> None:
    ends = {StudyState.COMPLETED, StudyState.CANCELLED, StudyState.FAILED}
    assert STUDY_MOVES[StudyState.RUNNING] == {StudyState.PAUSED, *ends}
    assert STUDY_MOVES[StudyState.PAUSED] == {StudyState.RUNNING, *ends}


def test_sources_are_the_moves_read_backwards() -> None:
    for target in TrialState:
        assert set(sources(target)) == {state for state in TrialState if target in TRIAL_MOVES[state]}
    for end in StudyState:
        assert set(study_sources(end)) == {state for state in StudyState if end in STUDY_MOVES[state]}
    assert sources(TrialState.COMPLETED) == (TrialState.RUNNING,)
