"""`tuneup lab`: what it asks the service, what it prints, and the files it writes."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from typer.testing import CliRunner, Result

from tests.client.fake_service import Answer, FakeService, Mishap, problem
from tuneup.cli import app

pytestmark = pytest.mark.usefixtures("url")

SURFACE: dict[str, Any] = {
    "surface": "beale",
    "runs": [
        {"optimizer": "sgd", "lr": 0.05623413, "outcome": "arrived", "steps": 99, "path": {"value": [14.2, 0.0009]}},
        {"optimizer": "adam", "lr": 10.0, "outcome": "diverged", "steps": None, "path": {"value": [14.2, 1e30]}},
    ],
}
AVERAGE = {"curves": [{"beta": 0.9, "window": 10.0, "values": [9.5, 12.0, 11.0]}]}


def tuneup(*words: object) -> Result:
    return CliRunner().invoke(app, ["lab", *[str(word) for word in words]], prog_name="tuneup")


def answers(service: FakeService, body: Any, kind: str = "application/json") -> None:
    service.mishaps.append(Mishap(Answer(200, body, kind)))


def asked(service: FakeService) -> tuple[str, list[tuple[str, str]]]:
    request = service.requests[-1]
    return request.path, parse_qsl(request.asked)


def test_the_table_of_step_counts(service: FakeService) -> None:
    answers(service, SURFACE)
    result = tuneup("surface", "beale", "-o", "sgd", "--optimizer", "adam", "--option", "adam.lr:10", "--steps", 50)
    assert result.exit_code == 0
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        ["optimizer", "steps", "lr", "outcome", "value"],
        ["sgd", "99", "0.056234", "arrived", "0.0009"],
        ["adam", "", "10", "diverged", "1e+30"],
    ]
    assert asked(service) == (
        "/v1/lab/surface",
        [("surface", "beale"), ("optimizer", "sgd"), ("optimizer", "adam"), ("steps", "50"), ("option", "adam.lr:10")],
    )


def test_what_is_not_given_is_not_asked(service: FakeService) -> None:
    answers(service, SURFACE)
    assert tuneup("surface", "saddle", "--lr", "0.01").exit_code == 0
    assert asked(service)[1] == [("surface", "saddle"), ("lr", "0.01")]
    answers(service, AVERAGE)
    assert tuneup("moving-average").exit_code == 0
    assert asked(service) == ("/v1/lab/moving-average", [("correction", "true")])


def test_averages_are_printed(service: FakeService) -> None:
    answers(service, AVERAGE)
    result = tuneup("moving-average", "--beta", "0.9", "--beta", "0.5", "--no-correction")
    assert result.stdout.splitlines() == ["beta\twindow\tfirst\tlast", "0.9\t10\t9.5\t11"]
    assert asked(service)[1] == [("beta", "0.9"), ("beta", "0.5"), ("correction", "false")]


@pytest.mark.parametrize(("words", "body"), [(("surface", "beale"), SURFACE), (("moving-average",), AVERAGE)])
def test_json_is_the_answer_itself(service: FakeService, words: tuple[str, ...], body: Any) -> None:
    answers(service, body)
    result = tuneup(*words, "--json")
    assert json.loads(result.stdout) == body
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("words", "name", "query"),
    [
        (("surface", "beale"), "a.svg", [("surface", "beale"), ("format", "svg")]),
        (("surface", "beale", "--figure", "contours"), "a.svg",
         [("surface", "beale"), ("figure", "contours"), ("format", "svg")]),
        (("surface", "beale", "--figure", "evolution"), "a.PNG",
         [("surface", "beale"), ("figure", "evolution"), ("format", "png")]),
        (("moving-average",), "a.png", [("correction", "true"), ("format", "png")]),
    ],
)  # fmt: skip
def test_a_picture_is_written(
    service: FakeService, tmp_path: Path, words: tuple[str, ...], name: str, query: list[tuple[str, str]]
) -> None:
    answers(service, "<svg/>", "image/svg+xml")
    result = tuneup(*words, "--output", tmp_path / name)
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / name).read_bytes() == b"<svg/>"
    assert asked(service)[1] == query
    assert "wrote" in result.stderr


def test_a_file_of_another_kind_is_refused_before_anything_is_asked(service: FakeService, tmp_path: Path) -> None:
    for path, code, words in (
        (tmp_path / "a.pdf", 2, "end its name in .svg or .png"),
        (tmp_path / "none" / "a.svg", 1, "there is no folder"),
    ):
        result = tuneup("surface", "beale", "--output", path)
        assert result.exit_code == code
        assert words in " ".join(result.stderr.replace("│", " ").split())
    assert service.requests == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("surface", "beale", "--json", "--output", "a.svg"), "--json prints the answer and --output writes a picture"),
        (("moving-average", "--json", "--output", "a.svg"), "--json prints the answer and --output writes a picture"),
        (("surface", "beale", "--figure", "contours"), "--figure chooses the picture that --output writes"),
        (("surface", "beale", "--figure", "evolution", "--json"), "--figure chooses the picture that --output writes"),
    ],
)
def test_options_that_contradict_each_other_are_bad_usage(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = tuneup(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert service.requests == []
    assert list(tmp_path.iterdir()) == []


def test_what_the_service_refuses_is_shown(service: FakeService, tmp_path: Path) -> None:
    fault = {"path": "query.surface", "message": "unknown surface 'x'; valid: beale"}
    service.mishaps.append(Mishap(problem(422, "Refused", "1 fault; see errors", errors=[fault])))
    result = tuneup("surface", "x", "--output", tmp_path / "a.svg")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "query.surface: unknown surface 'x'; valid: beale" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_busy_lab_is_asked_again(service: FakeService, pauses: list[int]) -> None:
    service.mishaps.append(Mishap(problem(503, "The lab is busy", "try again", Retry_After="0")))
    answers(service, SURFACE)
    assert tuneup("surface", "beale").exit_code == 0
    assert len(service.requests) == 2
    assert pauses == []
