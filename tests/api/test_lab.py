"""The lab over HTTP: data and pictures, its page, and what is refused."""

import json
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import fromstring

import jsonschema  # type: ignore[import-untyped]
import pytest

from api.html import HEADERS, PICTURE_HEADERS
from api.lab import helper
from tests.api.stage import DOCUMENT, KEY, Stage, faults, opened, problem
from tuneup import Client

SVG = "{http://www.w3.org/2000/svg}svg"


def whole(name: str) -> dict[str, Any]:
    """Return the schema of that name as one that stands alone."""
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def test_a_surface_is_answered_as_described(shared: Stage) -> None:
    told = shared.get("/lab/surface", surface="quadratic", optimizer=["sgd", "rmsprop"], option="rmsprop.alpha:0.9")
    jsonschema.validate(told, whole("SurfaceOut"))
    assert [(made["optimizer"], made["steps"]) for made in told["runs"]] == [("sgd", 427), ("rmsprop", 9)]
    assert told["runs"][1]["options"] == {"alpha": 0.9}


def test_without_a_query_there_is_something_to_see(shared: Stage) -> None:
    told = shared.get("/lab/surface")
    assert told["surface"] == "beale"
    assert len(told["runs"]) == 6
    jsonschema.validate(shared.get("/lab/moving-average"), whole("MovingAverageOut"))


def test_a_rate_is_of_all_but_of_who_has_its_own(shared: Stage) -> None:
    told = shared.get(
        "/lab/surface",
        optimizer=["sgd", "adam", "sgd"],
        lr=0.01,
        steps=20,
        option=["adam.lr:0.5", "adam.bias_correction:false"],
    )
    assert [(made["optimizer"], made["lr"]) for made in told["runs"]] == [("sgd", 0.01), ("adam", 0.5)]
    assert told["runs"][1]["options"]["bias_correction"] is False
    assert [made["outcome"] for made in told["runs"]] == ["unfinished", "unfinished"]


@pytest.mark.parametrize(
    "address", ["surface?figure=contours", "surface?figure=evolution&surface=saddle", "moving-average?correction=false"]
)
def test_pictures_are_whole_and_safe(shared: Stage, address: str) -> None:
    reply = shared.client.get(f"/v1/lab/{address}&format=svg")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/svg+xml")
    assert reply.headers.items() >= {name.lower(): value for name, value in PICTURE_HEADERS.items()}.items()
    assert fromstring(reply.content).tag == SVG  # noqa: S314  our own output
    known = shared.client.get(f"/v1/lab/{address}&format=svg", headers={"If-None-Match": reply.headers["etag"]})
    assert known.status_code == 304
    png = shared.client.get(f"/v1/lab/{address}&format=png")
    assert png.headers["content-type"] == "image/png"
    assert png.content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("query", "path", "message"),
    [
        ("surface=x", "query.surface", "unknown surface 'x'; valid: quadratic, rotated-quadratic, beale"),
        ("optimizer=x", "query.optimizer", "unknown optimizer 'x'; valid: sgd, momentum"),
        ("optimizer=kfac", "query.optimizer", "kfac looks at layers of a network, and a surface has none; valid: sgd"),
        ("lr=0", "query.lr", "must be greater than 0"),
        ("lr=nan", "query.lr", "must be less than or equal to 1000000"),
        ("steps=0", "query.steps", "must be greater than or equal to 1"),
        ("steps=5001", "query.steps", "must be less than or equal to 5000"),
        ("format=pdf", "query.format", "must be 'json', 'svg' or 'png'"),
        ("figure=x", "query.figure", "must be 'contours' or 'evolution'"),
        ("option=beta1", "query.option", "write it as optimizer.option:value, got 'beta1'"),
        ("option=lion.lr:1", "query.option", "'lion' is not among the chosen: sgd, momentum"),
        ("option=adam.x:1", "query.option", "adam.x: not an option of adam; valid: lr, beta1"),
        ("option=adam.beta1:1", "query.option", "adam.beta1: must be in [0, 1), got 1"),
        ("option=adam.beta1:nan", "query.option", "adam.beta1: must be a number in [0, 1), got 'nan'"),
        ("option=adam.beta1:true", "query.option", "adam.beta1: must be a number in [0, 1), got True"),
        ("option=adam.beta1:" + "1" * 80, "query.option", "adam.beta1: must be in [0, 1), got 1111"),
        ("option=adam.beta1:" + "1" * 81, "query.option", "adam.beta1: must be in [0, 1), got 1.1"),
        ("option=adam.beta1:" + "1" * 400, "query.option", "adam.beta1: must be a number in [0, 1), got '111"),
        ("option=adam.beta1:-" + "1" * 400, "query.option", "adam.beta1: must be a number in [0, 1), got '-11"),
        ("option=adam.bias_correction:" + "1" * 400, "query.option", "must be true or false, got '111"),
        ("option=adam.lr:" + "9" * 4300, "query.option", "adam.lr: must be a number in (0, 1e+06], got '999"),
        ("option=adam.lr:" + "9" * 5000, "query.option", "adam.lr: must be a number in (0, 1e+06], got '999"),
        ("option=adam.lr:" + "x" * 5000, "query.option", "adam.lr: must be a number in (0, 1e+06], got 'xxx"),
        ("option=adam." + "x" * 5000 + ":1", "query.option", "x: not an option of adam; valid: lr, beta1"),
        ("option=" + "x" * 5000 + ".lr:1", "query.option", "x' is not among the chosen: sgd, momentum"),
        ("option=" + "x" * 5000, "query.option", "write it as optimizer.option:value, got 'xxx"),
        ("surface=" + "x" * 5000, "query.surface", "unknown surface 'xxx"),
        ("optimizer=" + "x" * 5000, "query.optimizer", "unknown optimizer 'xxx"),
        ("steps=" + "9" * 400, "query.steps", "must be less than or equal to 5000"),
        ("steps=" + "9" * 5000, "query.steps", "exceeded maximum size"),
        ("zzz=1", "query.zzz", "no such parameter; valid are surface, optimizer, lr, steps, option, format, figure"),
    ],
)  # fmt: skip
def test_what_a_surface_cannot_be_asked_is_refused(shared: Stage, query: str, path: str, message: str) -> None:
    found = faults(shared.client.get(f"/v1/lab/surface?{query}"))
    assert list(found) == [path]
    assert message in found[path]
    assert len(found[path]) < 500, "what was sent is quoted in part"


def test_names_that_are_not_known_are_cut_where_they_are_listed(shared: Stage) -> None:
    names = "&".join(f"optimizer={letter * 5000}" for letter in "abcdefgh")
    found = faults(shared.client.get(f"/v1/lab/surface?{names}&option=adam.lr:1"))
    assert "'adam' is not among the chosen: aaa" in found["query.option"]
    assert len(found["query.option"]) < 1000


def test_a_long_number_in_its_range_is_read(shared: Stage) -> None:
    value = "0." + "1" * 400
    told = shared.get("/lab/surface", optimizer="adam", lr=0.1, steps=1, option=f"adam.beta1:{value}")
    assert told["runs"][0]["options"]["beta1"] == pytest.approx(1 / 9, rel=1e-6)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("beta=1", "less than or equal to 0.999"),
        ("beta=-0.1", "greater than or equal to 0"),
        ("beta=x", "valid number"),
        ("&".join(f"beta=0.{index}" for index in range(8)), "at most 7"),
    ],
)
def test_what_an_average_cannot_be_asked_is_refused(shared: Stage, query: str, message: str) -> None:
    (said,) = faults(shared.client.get(f"/v1/lab/moving-average?{query}")).values()
    assert message in said


def test_every_fault_is_named_at_once(shared: Stage) -> None:
    query = "surface=x&optimizer=y&optimizer=adam&option=adam.beta1:2&option=z"
    found = faults(shared.client.get(f"/v1/lab/surface?{query}"))
    assert set(found) == {"query.surface", "query.optimizer", "query.option"}
    assert "adam.beta1" in found["query.option"]
    assert "'z'" in found["query.option"]


def test_without_its_libraries_the_lab_says_what_to_install(shared: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "NEEDS", ("torch", "no_such_library"))
    reply = shared.client.get("/v1/lab/surface")
    assert reply.status_code == 503
    assert "the lab needs no_such_library on the API's host: install tuneup's extra `lab`" in problem(reply)["detail"]
    assert "retry-after" not in reply.headers
    page = shared.client.get("/lab")
    assert (page.status_code, "no_such_library" in page.text) == (503, True)


def test_the_page_shows_the_table_and_the_pictures(shared: Stage) -> None:
    reply = shared.client.get(
        "/lab?surface=saddle&optimizer=sgd&optimizer=momentum&lr=&steps=900&option=&beta=0.9&correction=off"
    )
    assert reply.status_code == 200
    assert reply.headers.items() >= {name.lower(): value for name, value in HEADERS.items()}.items()
    assert ">698</td>" in reply.text
    assert ">140</td>" in reply.text
    assert (
        "/v1/lab/surface?surface=saddle&amp;steps=900&amp;optimizer=sgd&amp;optimizer=momentum"
        "&amp;figure=contours&amp;format=svg" in reply.text
    )
    assert "/v1/lab/moving-average?beta=0.9&amp;correction=false&amp;format=svg" in reply.text


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("lr=fast", "lr: must be a number, got &#39;fast&#39;"),
        ("steps=1.5", "steps: must be a whole number"),
        ("beta=2", "beta: must be in [0, 0.999], got 2.0"),
        ("surface=<script>", "unknown surface &#39;&lt;script&gt;&#39;"),
        ("option=adam.beta1:2 x", "option: write it as optimizer.option:value"),
        ("lr=-1", "lr: must be in (0, 1e+06], got -1.0"),
        ("lr=" + "9" * 400, "lr: must be in (0, 1e+06], got inf"),
        ("steps=0", "steps: must be a whole number in [1, 5000], got 0"),
        ("steps=" + "9" * 400, "steps: must be a whole number in [1, 5000], got " + "9" * 80 + "<"),
        ("steps=" + "9" * 5000, "steps: must be a whole number, got &#39;" + "9" * 40 + "&#39;<"),
        ("option=adam.beta1:" + "1" * 400, "option: adam.beta1: must be a number in [0, 1), got &#39;111"),
        ("option=" + "adam.beta1:0.5+" * 65, "option: give at most 64, got 65"),
        ("&".join(f"beta=0.{index}" for index in range(8)), "beta: give 1 to 7 different values, got 8"),
        ("&".join(f"optimizer=o{index}" for index in range(9)), "optimizer: choose 1 to 8 different ones, got 9"),
    ],
)
def test_the_page_says_what_is_wrong_and_keeps_the_form(shared: Stage, query: str, message: str) -> None:
    reply = shared.client.get(f"/lab?{query}")
    assert reply.status_code == 422
    assert message in reply.text
    assert "<form" in reply.text
    assert "<script>" not in reply.text.replace('<script type="module"', "")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with opened(f"sqlite:///{tmp_path_factory.mktemp('guarded') / 'tuneup.db'}", key=KEY) as made:
        yield made


@pytest.mark.parametrize("path", ["/lab", "/v1/lab/surface", "/v1/lab/moving-average"])
def test_a_key_is_asked_for(guarded: Stage, path: str) -> None:
    assert guarded.client.get(path).status_code == 401


def test_the_client_gets_the_same(shared: Stage) -> None:
    query = {"optimizer": ["sgd", "adam"], "steps": ["30"], "option": ["adam.lr:0.5", "adam.beta1:0.8"]}
    with Client("http://testserver", transport=shared.client._transport) as client:
        told = json.loads(client.lab("surface", query))
    assert [(made["optimizer"], made["options"]) for made in told["runs"]] == [
        ("sgd", {}), ("adam", {"lr": 0.5, "beta1": 0.8}),
    ]  # fmt: skip
