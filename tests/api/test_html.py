"""How values are written on pages, and that templates escape them."""

from datetime import UTC, datetime

import pytest

from api.html import STATIC, duration, error_page, metric, moment, number, static


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (1e-5, "1e-05"), (-0.0, "0"), (64, "64"), (True, "true"), ("adam", "adam"), ([64, 32], "[64, 32]")],
)
def test_parameters_are_short(value: object, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.50000"), (12345.0, "12345"), (-0.0, "0.0000"), (1e-9, "1.0000e-09")]
)
def test_metrics_line_up(value: float, text: str) -> None:
    assert metric(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (12.34, "12.3 s"), (60, "1 min"), (61.6, "1 min 2 s"), (3600, "1 h"), (93784, "1 d 2 h")],
)
def test_times_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_moments_name_their_zone() -> None:
    assert moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04 UTC"


def test_templates_escape() -> None:
    body = bytes(error_page(404, "<script>alert(1)</script>").body).decode()
    assert "&lt;script&gt;alert(1)" in body
    assert body.count("<script") == 1, "the page's own"


def test_static_addresses_change_with_their_files() -> None:
    for file in STATIC.iterdir():
        assert static(file.name).startswith(f"/static/{file.name}?v=")
