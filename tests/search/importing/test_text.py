"""Text as JSON values: what YAML users expect, and what is refused before it costs anything."""

import pytest

from search.errors import InvalidStudy
from search.importing.text import LONGEST_YAML, read_entries, read_text

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"


def refusal(text: str) -> str:
    with pytest.raises(InvalidStudy) as refused:
        read_text(text, "source")
    (fault,) = refused.value.faults
    assert fault.path == "source"
    return fault.message


def test_numbers_dates_and_truth_are_as_expected() -> None:
    text = "a: 1e-4\nb: 2024-01-01\nc: true\nd: 1.5\ne: [1, null]\n"
    assert read_text(text, "source") == {"a": 1e-4, "b": "2024-01-01", "c": True, "d": 1.5, "e": [1, None]}
    assert read_text('{"a": [1, 2.0]}', "source") == {"a": [1, 2.0]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1, 2", "at line 1"),
        ("a: 1\na: 2", "stands here twice"),
        (BOMB, "aliases are not read"),
        ("base: &x {a: 1}\nb:\n  <<: *x\n", "aliases are not read"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("[" * 5000, "nested too deeply"),
        ("a: 1\n" + "#" * LONGEST_YAML, "at most 65536"),
        ("a: " + "9" * 5000, "is not YAML"),
        ("a: \x07", "is not YAML"),
        ("a: 1\n---\nb: 2", "found another document"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    assert says in refusal(text)


def test_entries_that_are_texts_are_read_where_they_may_be() -> None:
    source = {"a": '{"type": "int"}', "b": 1}
    assert read_entries(source, "source") == {"a": {"type": "int"}, "b": 1}
    assert read_entries(3, "source") == 3
    with pytest.raises(InvalidStudy, match=r"source\.a"):
        read_entries({"a": "{"}, "source")
