"""The history picture: what it shows is where it should be, and it is well-formed whatever it is given."""

import random
import re
from itertools import accumulate, pairwise
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.axes import Axis, label, number_axis, value_axis, whole_ticks
from api.picture import MOST_DOTS, HistoryPoint, best_so_far, history_svg, thinned

SVG = "{http://www.w3.org/2000/svg}"
FINITE = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.lists(st.builds(HistoryPoint, st.integers(0, 10**6), FINITE, st.sampled_from(["completed", "pruned"])))


def drawn(points: list[HistoryPoint], *, goal: str = "minimize", metric: str = "val_loss") -> Element:
    return fromstring(history_svg(points, goal=goal, metric=metric))  # noqa: S314  our own output


def completed(*values: float) -> list[HistoryPoint]:
    return [HistoryPoint(number, value, "completed") for number, value in enumerate(values)]


def marks(picture: Element, kind: str) -> list[Element]:
    """Return the marks of trials of this kind, without the one in the legend."""
    return [element for element in picture if element.get("class") == kind][1:]


def texts(picture: Element) -> list[str]:
    return ["".join(element.itertext()) for element in picture.iter(f"{SVG}text")]


def corners(picture: Element) -> list[tuple[float, float]]:
    """Return where the best-so-far line turns down or up: its start, then each step's end."""
    line = [element for element in picture if element.get("class") == "line"][-1].get("d") or ""
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", line)]
    return list(zip(numbers[0:-1:2], numbers[1::2], strict=True))


def test_each_trial_is_a_mark_in_its_place() -> None:
    picture = drawn([*completed(3.0, 1.0, 2.0), HistoryPoint(3, 3.0, "pruned")])
    dots = [(float(dot.get("cx") or 0), float(dot.get("cy") or 0)) for dot in marks(picture, "completed")]
    assert len(marks(picture, "pruned")) == 1
    (x0, y0), (x1, y1), (x2, y2) = dots
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 < y2 < y1, "lower values lie lower"
    assert y2 - y0 == pytest.approx(y1 - y2, abs=0.2)


def test_marks_say_what_they_are() -> None:
    titles = [title.text for title in drawn(completed(0.25)).iter(f"{SVG}title")]
    assert titles == ["History of val_loss", "trial 0, completed: 0.25"]


def test_states_without_a_form_are_left_out() -> None:
    assert "No trial has finished yet" in texts(drawn([HistoryPoint(0, 1.0, "cancelled")]))


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_the_line_is_the_best_completed_so_far(goal: str) -> None:
    draws = random.Random(5)
    points = [HistoryPoint(n, draws.gauss(0, 1), draws.choice(["completed", "completed", "pruned"])) for n in range(60)]
    better = min if goal == "minimize" else max
    reached = [point for point in points if point.state == "completed"]
    so_far = list(accumulate((point.value for point in reached), better))
    expected = [reached[0], *(p for p, (was, now) in zip(reached[1:], pairwise(so_far), strict=True) if now != was)]
    assert best_so_far(points, goal) == expected

    picture = drawn(points, goal=goal)
    dots = {
        (float(dot.get("cx") or 0), float(dot.get("cy") or 0)): dot.findtext(f"{SVG}title")
        for dot in marks(picture, "completed")
    }
    assert [dots[corner] for corner in corners(picture)] == [
        f"trial {point.number}, completed: {point.value:.6g}" for point in expected
    ]
    ring = marks_of_best(picture)
    assert (float(ring.get("cx") or 0), float(ring.get("cy") or 0)) == corners(picture)[-1]


def marks_of_best(picture: Element) -> Element:
    return next(element for element in picture if element.get("class") == "ring")


def test_a_pruned_trial_is_never_the_best() -> None:
    points = [HistoryPoint(0, 1.0, "completed"), HistoryPoint(1, 0.1, "pruned")]
    assert best_so_far(points, "minimize") == points[:1]


def test_the_order_given_does_not_matter() -> None:
    points = completed(3.0, 1.0, 2.0)
    assert history_svg(points[::-1], goal="minimize", metric="m") == history_svg(points, goal="minimize", metric="m")


def test_nothing_yet_is_said() -> None:
    picture = drawn([])
    assert "No trial has finished yet" in texts(picture)
    assert "line" not in {element.get("class") for element in picture if element.get("d") != "M182 42h8v-6h8"}


def test_a_wide_range_of_positive_values_is_logarithmic() -> None:
    assert "log scale" in texts(drawn(completed(0.01, 0.1, 10.0)))[0]
    assert "log scale" not in texts(drawn(completed(0.1, 10.0)))[0]
    assert "log scale" not in texts(drawn(completed(-0.01, 10.0)))[0]
    ys = [float(dot.get("cy") or 0) for dot in marks(drawn(completed(0.01, 0.1, 10.0)), "completed")]
    assert ys[0] - ys[1] == pytest.approx((ys[1] - ys[2]) / 2, abs=0.2)


def test_what_it_shows_is_said_in_words() -> None:
    picture = drawn([*completed(0.5, 0.25), HistoryPoint(2, 0.1, "pruned")])
    words = picture.findtext(f"{SVG}desc") or ""
    assert "2 completed and 1 pruned trials; lower is better" in words
    assert "trial 1 with val_loss 0.25" in words
    assert picture.get("role") == "img"


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a & b \"c\" 'd'", "]]>", "\x00\x1b\ud800￿", "ü" * 200])
def test_names_are_text(name: str) -> None:
    picture = drawn(completed(1.0), metric=name)
    assert {element.tag.removeprefix(SVG) for element in picture.iter()} <= {
        "svg", "title", "desc", "style", "rect", "text", "tspan", "circle", "path",
    }  # fmt: skip
    kept = name.translate({0: "�", 0x1B: "�", 0xD800: "�", 0xFFFF: "�"})
    assert picture.findtext(f"{SVG}title") == f"History of {kept}"


def test_it_refers_to_nothing_outside() -> None:
    text = history_svg(completed(1.0, 2.0), goal="minimize", metric="m")
    assert text.count("http") == 1, "the namespace alone"
    assert not re.search(r"url\(|href|@import|<script", text)


def test_many_trials_are_thinned_and_their_extremes_stay() -> None:
    draws = random.Random(7)
    points = [HistoryPoint(n, draws.gauss(1, 0.1), draws.choice(["completed", "pruned"])) for n in range(100_000)]
    left = thinned(points)
    assert len(left) <= MOST_DOTS + 400
    assert left == sorted(left, key=lambda point: point.number)
    assert {min(points, key=lambda p: p.value), max(points, key=lambda p: p.value), points[0]} <= set(left)
    assert thinned(points[:MOST_DOTS]) == points[:MOST_DOTS]
    text = history_svg(points, goal="minimize", metric="m")
    assert len(text) < 250_000
    ring = marks_of_best(fromstring(text))  # noqa: S314  our own output
    best = best_so_far(points, "minimize")[-1]
    assert float(ring.get("cx") or 0) == pytest.approx(40 + (best.number / 100_000) * 664, abs=40)


def test_a_line_that_always_sinks_stays_small() -> None:
    assert len(history_svg(completed(*range(50_000, 0, -1)), goal="minimize", metric="m")) < 500_000


@settings(max_examples=150)
@given(points=POINTS, goal=st.sampled_from(["minimize", "maximize"]), metric=st.text(max_size=40))
def test_any_history_gives_a_picture_within_its_frame(points: list[HistoryPoint], goal: str, metric: str) -> None:
    picture = drawn(points, goal=goal, metric=metric)
    for dot in picture.iter(f"{SVG}circle"):
        assert 0 <= float(dot.get("cx") or -1) <= 720
        assert 0 <= float(dot.get("cy") or -1) <= 320


@given(values=st.lists(FINITE, min_size=1, max_size=20))
def test_an_axis_holds_its_values_and_ticks(values: list[float]) -> None:
    axis = value_axis(values)
    places = [axis.place(value) for value in [*values, *(tick.value for tick in axis.ticks())]]
    assert all(-1e-6 <= place <= 1 + 1e-6 for place in places)
    assert len(axis.ticks()) <= 8


@pytest.mark.parametrize(
    ("axis", "labels"),
    [
        (Axis(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Axis(-50, 250), ["-50", "0", "50", "100", "150", "200", "250"]),
        (Axis(0.98, 0.99), ["0.980", "0.982", "0.984", "0.986", "0.988", "0.990"]),
        (Axis(0.005, 2e3, log=True), ["0.01", "0.1", "1", "10", "100", "1000"]),
        (Axis(1e-9, 1e9, log=True), ["1e-9", "1e-5", "0.1", "1000", "1e7"]),
    ],
)
def test_ticks_are_round(axis: Axis, labels: list[str]) -> None:
    assert [tick.label for tick in axis.ticks()] == labels


def test_labels_are_short_and_tell_neighbours_apart() -> None:
    assert label(1.5e12, 5e11) == "1.5e12"
    assert label(-3e-9, 1e-9) == "-3e-9"
    assert label(123456.5, 0.5) == "123456.5"


def test_trials_are_counted_in_whole_numbers() -> None:
    assert [tick.label for tick in whole_ticks(number_axis([0, 1, 2]), 8)] == ["0", "1", "2"]
    assert [tick.value for tick in whole_ticks(number_axis(range(100_000)), 5)] == [0, 20_000, 40_000, 60_000, 80_000]
    assert [tick.label for tick in whole_ticks(number_axis([20_000]), 5)] == ["20,000"]
