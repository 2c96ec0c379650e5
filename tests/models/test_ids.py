"""Public identifiers: what is written is read back, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ids import ALPHABET, LENGTH, new_study_id, read_study, read_trial, show_study, show_trial

study_ids = st.integers(0, 2**63 - 1)
numbers = st.integers(0, 10**9 - 1)


@given(study_ids)
def test_a_study_id_is_read_back(study_id: int) -> None:
    text = show_study(study_id)
    assert len(text) == LENGTH
    assert set(text) <= set(ALPHABET)
    assert read_study(text) == study_id


@given(study_ids, numbers)
def test_a_trial_id_is_read_back(study_id: int, number: int) -> None:
    assert read_trial(show_trial(study_id, number)) == (study_id, number)


@given(st.text(max_size=30) | st.text(ALPHABET + "-0123456789", min_size=10, max_size=20))
def test_foreign_text_is_refused_or_is_the_very_way_we_write_it(text: str) -> None:
    study_id, trial = read_study(text), read_trial(text)
    assert study_id is None or show_study(study_id) == text
    assert trial is None or show_trial(*trial) == text


@pytest.mark.parametrize("text", ["", "0" * 12, "0" * 14, "I" * 13, "z" * 13, "0" * 12 + "\u0663", "0" * 12 + "O"])
def test_what_is_no_study_id(text: str) -> None:
    assert read_study(text) is None


@pytest.mark.parametrize("number", ["", "-1", "01", "+1", " 1", "1 ", "1.0", "\u0663", "\u00b2", "1" * 10, "1-1", "x"])
def test_what_is_no_trial_id(number: str) -> None:
    assert read_trial(f"{'0' * 13}-{number}") is None


def test_new_ids_fit_the_column_and_differ() -> None:
    drawn = {new_study_id() for _ in range(1000)}
    assert len(drawn) == 1000
    assert all(0 <= study_id < 2**63 for study_id in drawn)
