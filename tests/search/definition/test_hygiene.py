"""What no stored value may hold."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.definition.hygiene import clean

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("raw", "path", "says"),
    [
        ({"space": {"lr": {"low": math.nan}}}, "space.lr.low", "finite"),
        ({"space": {"lr": {"low": -math.inf}}}, "space.lr.low", "finite"),
        ({"metrics": [1, {"x": 2**53 + 1}]}, "metrics[1].x", "2^53"),
        ({"a": 10**400}, "a", "2^53"),
        ({"name": "a\x00b"}, "name", r"'a\x00b'"),
        ({"name": "a\x85"}, "name", "control"),
        ({"name": "a\ud800"}, "name", r"'a\ud800'"),
        ({"a": "x" * 4097}, "a", "4096"),
        ({"a\n": 1}, r"a\n", "control"),
        ({"\ud800": 1}, r"\ud800", "surrogate"),
        ({"": 1}, "", "empty"),
        ({"n" * 129: 1}, "n" * 128 + "...", "128"),
        ({"e\u0301": 1, "\u00e9": 2}, "\u00e9", "twice"),
        ({"a": dict.fromkeys(map(str, range(65)))}, "a", "at most 64"),
        ({"a": [0] * 1001}, "a", "at most 1000"),
        (nested(33), "[0]" * 32, "32"),
        ({"a": {1: 2}}, "a", "strings as names"),
        ({"a": {1, 2}}, "a", "a set"),
    ],
)
def test_what_is_refused_and_where(raw: object, path: str, says: str) -> None:
    _, faults = clean(raw)
    assert [fault.path for fault in faults] == [path]
    assert says in faults[0].message
    assert faults[0].message.isprintable()


@pytest.mark.parametrize("raw", [nested(32), 2**53, -(2**53), "x" * 4096, {"n" * 128: None}, {"a": [None] * 1000}])
def test_what_just_passes(raw: object) -> None:
    assert clean(raw) == (raw, [])


def test_names_and_strings_come_out_composed() -> None:
    assert clean({"e\u0301": ["e\u0301"]}) == ({"\u00e9": ["\u00e9"]}, [])


def test_faulty_entries_are_dropped_and_the_rest_kept() -> None:
    value, faults = clean({"a": math.nan, "b": [1, math.inf, 3], "c": None})
    assert value == {"b": [1, None, 3], "c": None}
    assert [fault.path for fault in faults] == ["a", "b[1]"]


@given(JSON)
def test_what_comes_out_is_clean(raw: Any) -> None:
    value, faults = clean(raw)
    assert clean(value) == (value, [])
    assert all(fault.path.isprintable() and fault.message.isprintable() for fault in faults)
