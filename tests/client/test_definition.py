from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuneup.definition import read_definition
from tuneup.errors import UnreadableStudy

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_mapping_a_path_and_text_give_the_same(tmp_path: Path) -> None:
    text = "name: x\nspace:\n  lr: {low: 1.0e-4, high: 1}\n"
    path = tmp_path / "study.yaml"
    path.write_text(text)
    expected = {"name": "x", "space": {"lr": {"low": 1e-4, "high": 1}}}
    assert read_definition(expected) == expected
    assert read_definition(text) == expected
    assert read_definition(path) == expected
    assert read_definition(str(path)) == expected
    assert read_definition('{"name": "x", "space": {"lr": {"low": 1e-4, "high": 1}}}') == expected


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("1E5", 1e5), ("-2.5e3", -2500.0), (".5e1", 5.0), ("2024-01-01", "2024-01-01")]
)
def test_numbers_with_an_exponent_are_numbers_and_dates_are_text(text: str, value: object) -> None:
    read = read_definition(f"a: {text}")["a"]
    assert (read, type(read)) == (value, type(value))


def test_values_of_numpy_and_tuples_become_plain() -> None:
    read = read_definition({"a": np.float64(0.5), "b": np.int64(3), "c": (1, 2), "d": np.float32(0.5), "e": True})
    assert read == {"a": 0.5, "b": 3, "c": [1, 2], "d": 0.5, "e": True}
    assert [type(value) for value in read.values()] == [float, int, list, float, bool]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [1, 2", "line 1, column 12"),
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: 'a' stands here twice"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("- 1\n- 2\n", "is a mapping"),
        ("", "is a mapping with a name, an objective and so on, not nothing"),
        ("just words", "not text ('just words')"),
        ("a: \x00", "not YAML"),
        ("a: " + "9" * 5000, "not YAML"),
        ("a: &loop [*loop]", "contains itself"),
        ("a: " + "[" * 5000, "nested too deeply"),
    ],
)
def test_text_that_cannot_be_read_says_why(text: str, message: str) -> None:
    with pytest.raises(UnreadableStudy) as caught:
        read_definition(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_value_that_json_cannot_carry_is_named_with_its_path() -> None:
    with pytest.raises(UnreadableStudy) as caught:
        read_definition(
            'space: {lr: {low: .nan, levels: [1, .inf]}}\n1: x\na: {on: 2}\nb: !!binary aGk=\nc: "\\ud800"\n'
        )
    faults = {fault.path: fault.message for fault in caught.value.faults}
    assert list(faults) == ["space.lr.low", "space.lr.levels[1]", "1", "a.True", "b", "c"]
    assert faults["space.lr.low"].endswith("got nan")
    assert faults["1"] == "a name must be text, got int; put it in quotes"


def _missing(folder: Path) -> Path:
    return folder / "none.yaml"


def _latin(folder: Path) -> Path:
    path = folder / "latin.yaml"
    path.write_bytes(b"name: \xe9t\xe9")
    return path


@pytest.mark.parametrize("make", [_missing, _latin, Path])
def test_a_file_that_cannot_be_read_is_named(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(UnreadableStudy, match="cannot read") as caught:
        read_definition(path)
    assert str(path) in str(caught.value)


def test_a_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x")
    assert read_definition(path) == {"name": "x"}


@pytest.mark.parametrize("name", ["digits.yaml", "grid.yaml"])
def test_the_examples_can_be_read(name: str) -> None:
    example: dict[str, Any] = read_definition(EXAMPLES / name)
    assert {"name", "objective", "metrics", "space", "search"} <= set(example)
