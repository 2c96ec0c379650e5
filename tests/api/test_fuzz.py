"""Requests made from the OpenAPI document, fitting it and not, and studies a step away from good ones: never a 500."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, Config
from schemathesis.schemas import BaseSchema
from starlette.types import ASGIApp, Receive, Scope, Send

from optim.catalog import OPTIMIZERS
from search.definition.examples import EXAMPLE_STUDIES
from tests.api.stage import DOCUMENT, KEY, Stage, opened, problem

SEED = 20260101
FEW, MANY = 25, 200
HEADERS = {"Authorization": f"Bearer {KEY}"}
# The body of a study that fits the document may still contradict itself, which JSON Schema cannot say.
UNFIT = {"positive_data_acceptance": {"enabled": False}}


class Running:
    """The application that a fixture keeps running: tests are made before it is there. Starting it is not for others."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.app(scope, receive, send)


running = Running()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Yield a service that wants a key, over a database file."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with opened(f"sqlite:///{folder / 'tuneup.db'}", key=KEY) as made:
        running.app = made.client.app
        yield made


def described(examples: int) -> BaseSchema:
    generation = {"max-examples": examples, "deterministic": True, "no-shrink": True}
    settings: dict[str, Any] = {"seed": SEED, "generation": generation, "checks": UNFIT}
    config = Config.from_dict(settings)
    schema = schemathesis.openapi.from_dict(DOCUMENT, config=config)
    schema.app = running
    return schema


def answer(stage: Stage, case: Case[Any]) -> None:
    """Send a request, often to a study or trial that is there, and check the answer in every way."""
    for name, suffix in (("study_id", ""), ("trial_id", "-0")):
        given = case.path_parameters.get(name)
        if isinstance(given, str) and (len(given) < 3 or len(given) % 2 == 0):
            case.path_parameters[name] = prepared(stage, ended=case.method == "DELETE") + suffix
    if case.path == "/v1/lab/surface":
        shorten(case.query)
    case.call_and_validate(headers=HEADERS)


def shorten(query: dict[str, Any]) -> None:
    """Let the lab take few steps where it would take many; what it refuses stays as it is."""
    asked = str(query.get("steps", 5000))
    if asked.isdecimal() and 20 < int(asked) <= 5000:
        query["steps"] = 20


def prepared(stage: Stage, *, ended: bool) -> str:
    """Return the only study there is; its first trial completed, its second runs unless it is to have ended."""
    stage.clear()
    made = str(stage.create(headers=HEADERS)["id"])
    stage.run(1)
    if ended:
        assert stage.client.post(f"/v1/studies/{made}:cancel", headers=HEADERS).status_code == 200
    else:
        stage.worker.claim(queue="cpu", capacity=1)
    return made


@described(FEW).parametrize()
def test_requests_made_from_the_document(stage: Stage, case: Case[Any]) -> None:
    answer(stage, case)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # one operation may take minutes
@described(MANY).parametrize()
def test_many_requests_made_from_the_document(stage: Stage, case: Case[Any]) -> None:
    answer(stage, case)


NASTY: list[Any] = [
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, -1e308, 5e-324, 2**31, 2**53, 2**53 + 1, 2**63, 10**400,
    float("nan"), float("inf"), "", " ", "\0", "\ud800", "a" * 5000, "e\u0301", "\u202e", "NaN", "1", "sgd", "adam",
    "lr", "log", "grid", "int", [], [[]], [None], ["sgd"], [1, 1], [0.1, 0.2], {}, {"": 1}, {"a": None},
    {"type": "float"}, {"type": "int", "low": 1, "high": 2}, {"type": "categorical", "choices": [1, "1", True, None]},
    {"type": "float", "low": 0, "high": 1, "step": 5e-324}, {"optimizer": ["sgd"]}, {"lr": [0.1]},
]  # fmt: skip


# Values of an option as they may stand in an address.
TEXTS = [
    "", " ", ":", ".", "true", "True", "0", "1", "-1", "0.5", "1_0", "0x1", "\u0661", "nan", "-inf", "1e400", "5e-324",
    "1" * 80, "1" * 81, "1" * 400, "-" + "1" * 400, "9" * 4300, "9" * 5000, "0." + "0" * 400 + "1", "0" * 400, "a" * 5000,
    "\0", "\u202e", "e\u0301", "'" * 400, "\0" * 400,
]  # fmt: skip


@st.composite
def lab_options(draw: st.DrawFn) -> str:
    """Draw an option of an optimizer with a value, mostly of one that is there."""
    info = draw(st.sampled_from([OPTIMIZERS["adam"], OPTIMIZERS["sgd"]]))
    name = draw(st.sampled_from([info.name] * 8 + TEXTS))
    option = draw(st.sampled_from([option.name for option in info.options] * 8 + TEXTS))
    return f"{name}.{option}:{draw(st.sampled_from(TEXTS))}"


@hypothesis.settings(max_examples=4 * FEW, derandomize=True)
@hypothesis.given(options=st.lists(lab_options(), max_size=3))
def test_options_in_the_lab(stage: Stage, options: list[str]) -> None:
    """They are taken or refused, the same by the page, and quoted in part."""
    query = {"optimizer": ["sgd", "adam"], "steps": "1", "option": options}
    reply = stage.client.get("/v1/lab/surface", params=query, headers=HEADERS)
    if reply.status_code != 200:
        assert reply.status_code == 422, reply.text
        assert all(len(fault["message"]) < 1000 for fault in problem(reply)["errors"])
    shown = stage.client.get("/lab", params=query, headers=HEADERS)
    if not any(letter.isspace() for letter in "".join(options)):
        assert shown.status_code == reply.status_code, options


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Walk to every place in a JSON value, the whole first."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from places(item, (*path, key))


@st.composite
def near_studies(draw: st.DrawFn) -> Any:
    """Draw an example of a study with up to three places changed, taken out, or given a new neighbour."""
    study: Any = copy.deepcopy(dict(draw(st.sampled_from(list(EXAMPLE_STUDIES.values())))))
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from([path for path in places(study) if path] or [("name",)]))
        holder = study
        for key in parents:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "remove", "add", "rename"]))
        value = copy.deepcopy(draw(st.sampled_from(NASTY) | st.sampled_from(NASTY).map(lambda item: [item])))
        if isinstance(holder, list):
            holder.insert(last, value) if change == "add" else holder.__setitem__(last, value)
        elif change in {"replace", "add"}:
            holder[
                last if change == "replace" else draw(st.sampled_from(["default", "when", "step", "x", "levels"]))
            ] = value
        else:
            kept = holder.pop(last)
            if change == "rename":
                holder[draw(st.sampled_from(["momentum", "beta1", "x", "a\0", "n" * 129, "\ud800"]))] = kept
    return study


def near(stage: Stage, raw: Any) -> None:
    """Post a study; it is taken, and then its definition too, or refused with its faults, and nothing is stored."""
    before = stage.rows()
    headers = HEADERS | {"Content-Type": "application/json"}
    reply = stage.client.post("/v1/studies", content=json.dumps(raw).encode(), headers=headers)
    if reply.status_code == 201:
        definition = reply.json()["definition"]
        again = stage.client.post("/v1/studies", json=definition, headers=HEADERS)
        assert (again.status_code, again.json()["definition"]) == (201, definition)
    else:
        assert reply.status_code == 422, reply.text
        assert problem(reply)["errors"] != []
        assert stage.rows() == before


@hypothesis.settings(max_examples=10 * FEW, derandomize=True)
@hypothesis.given(raw=near_studies())
def test_studies_near_good_ones(stage: Stage, raw: Any) -> None:
    near(stage, raw)


@pytest.mark.slow
@hypothesis.settings(max_examples=20 * MANY)
@hypothesis.given(raw=near_studies())
def test_many_studies_near_good_ones(stage: Stage, raw: Any) -> None:
    near(stage, raw)
