"""Answers: what they say is what was run, and pictures show it."""

import json
import re
import struct
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from optim.lab.surfaces import SURFACES, surface_of
from optim.lab.trajectories import run
from training.lab.answers import answer
from training.lab.averages import curves, signal
from training.lab.figures import COLOURS, legend

FASTEST: list[list[Any]] = [["nesterov", {}], ["momentum", {"momentum": 0.8, "lr": 0.01}]]
BETAS = [0.5, 0.9, 0.98]


def surface(**changes: Any) -> bytes:
    question = {"ask": "surface", "surface": "beale", "optimizers": FASTEST, "steps": 300, "format": "json"}
    return answer({**question, "figure": "contours", **changes})


def average(**changes: Any) -> bytes:
    return answer({"ask": "moving-average", "betas": BETAS, "correction": True, "format": "json", **changes})


def words(svg: bytes) -> str:
    return " ".join(" ".join(fromstring(svg).itertext()).split())  # noqa: S314  our own output


def test_a_surface_is_told_with_its_runs() -> None:
    told = json.loads(surface())
    expected = run(surface_of("beale"), "nesterov", {})
    assert (told["surface"], told["stop"], told["start"], told["minimum"]) == ("beale", "f < 0.001", [1, 1], [3, 0.5])
    best, given = told["runs"]
    assert (best["optimizer"], best["outcome"], best["steps"]) == ("nesterov", "arrived", expected.steps)
    assert best["lr"] == pytest.approx(expected.lr, rel=1e-6)
    assert best["path"]["x"] == pytest.approx(expected.x, rel=1e-6)
    assert given["options"] == {"momentum": 0.8, "lr": 0.01}
    assert given["lr"] == 0.01
    assert [len(row) for row in told["contours"]["values"]] == [61] * 61


def test_outcomes_have_their_words() -> None:
    told = json.loads(surface(optimizers=[["sgd", {"lr": 100.0}], ["sgd", {"lr": 1e-4}]], steps=40))
    assert [(made["outcome"], made["steps"]) for made in told["runs"]] == [("diverged", None), ("unfinished", None)]


@pytest.mark.parametrize("figure", ["contours", "evolution"])
@pytest.mark.parametrize("name", SURFACES)
def test_pictures_show_each_run_in_its_colour(name: str, figure: str) -> None:
    svg = surface(surface=name, figure=figure, format="svg")
    text = words(svg)
    assert surface_of(name).title in text
    for index, (optimizer, options) in enumerate(FASTEST):
        assert legend(run(surface_of(name), optimizer, options, steps=300)) in text
        assert COLOURS[index].lower() in svg.decode()
    assert ("minimum" in text) == (figure == "contours" and surface_of(name).minimum is not None)
    assert ("stop: f <" in text) == (figure == "evolution" and name != "saddle")


def test_legends_say_how_runs_ended() -> None:
    beale = surface_of("beale")
    assert legend(run(beale, "nesterov", {})) == "SGD with Nesterov momentum: 16 steps, rate 0.0178"
    assert legend(run(beale, "sgd", {"lr": 100.0})).endswith(": diverged, rate 100")
    assert legend(run(beale, "sgd", {"lr": 1e-4}, steps=9)).endswith(": not within 9 steps, rate 0.0001")


def test_pictures_are_whole_and_refer_to_nothing_outside() -> None:
    svg = surface(format="svg").decode()
    assert re.findall(r"""(?:href|src)=["'](?!#)|@import|<script""", svg) == []
    assert set(re.findall(r"url\((.)", svg)) <= {"#"}
    assert surface(format="svg") == svg.encode(), "the same picture is the same bytes"
    png = surface(format="png")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (1094, 777)


def test_an_average_of_a_constant_beginning_is_corrected() -> None:
    first = signal()[0]
    for curve in curves(BETAS, bias_correction=True):
        assert curve.values[0] == pytest.approx(first, rel=1e-12)
    for curve in curves(BETAS, bias_correction=False):
        assert curve.values[0] == pytest.approx((1 - curve.beta) * first, rel=1e-12)


def test_averages_lag_the_more_the_longer_they_remember() -> None:
    peaks = [curve.values.index(max(curve.values)) for curve in curves([0.9, 0.95, 0.98], bias_correction=True)]
    assert peaks == sorted(set(peaks))
    assert [round(curve.window) for curve in curves([0.0, 0.9, 0.99], bias_correction=True)] == [1, 10, 100]
    assert curves([0.0], bias_correction=False)[0].values == signal()


@pytest.mark.parametrize("correction", [True, False])
def test_the_moving_average_is_told_and_drawn(correction: bool) -> None:
    told = json.loads(average(correction=correction))
    assert told["correction"] is correction
    assert [curve["beta"] for curve in told["curves"]] == BETAS
    assert told["signal"] == pytest.approx(signal(), rel=1e-6)
    assert {len(curve["values"]) for curve in told["curves"]} == {len(signal())}
    text = words(average(correction=correction, format="svg"))
    assert f"{'with' if correction else 'without'} bias correction" in text
    assert "β = 0.98, over about 50 values" in text
    assert average(correction=correction, format="png").startswith(b"\x89PNG")


def test_what_was_not_checked_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown surface"):
        surface(surface="x")
    with pytest.raises(KeyError):
        answer({"ask": "x"})
