import pytest

from tuneup.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400), (" 1.5h ", 5400)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-5s", "5 weeks", "m", "1e3", "inf", "nan", "1h30m", "9" * 400])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.6, "1m 00s"), (65, "1m 05s"), (7384, "2h 03m")])
def test_durations_are_written(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
