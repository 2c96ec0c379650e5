"""Lists, page by page: complete, without doubles, also over ties and while trials change; and cursors that are none."""

import base64
import json
import re
from datetime import timedelta
from itertools import chain
from typing import Any

import pytest

from api.cursors import write_cursor, write_place
from models.states import TrialState
from search.clock import utc_now
from search.definition.examples import EXAMPLE_STUDIES
from search.studies import service
from search.trials.dispatch import Result
from tests.api.stage import Stage, faults, study

CURSOR = re.compile(r"[A-Za-z0-9_-]+")


def numbers(trials: list[dict[str, Any]]) -> list[int]:
    return [trial["number"] for trial in trials]


def run_some(stage: Stage) -> str:
    """Return a study of which 12 trials completed in pairs of equal values, 4 failed and 4 run."""
    made = stage.create()["id"]
    stage.run(12, lambda number: number // 2 / 100)
    failed = stage.worker.claim(queue="cpu", capacity=4)
    stage.worker.finish([Result(claim, TrialState.FAILED, reason="test") for claim in failed])
    assert len(stage.worker.claim(queue="cpu", capacity=4)) == 4
    return str(made)


@pytest.fixture(scope="module")
def ran(shared: Stage) -> str:
    return run_some(shared)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20, 1000])
@pytest.mark.parametrize("sort", ["number", "-number", "best", "-best"])
def test_trials_come_once_each_in_order(shared: Stage, ran: str, sort: str, limit: int) -> None:
    pages = list(shared.pages(f"/studies/{ran}/trials", sort=sort, limit=limit))
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert 0 < len(pages[-1]) <= limit
    found = numbers(list(chain(*pages)))
    up = list(range(20))
    # Best first: the highest accuracy, the lower number of two; then those without a value.
    best = [10, 11, 8, 9, 6, 7, 4, 5, 2, 3, 0, 1, *range(12, 20)]
    assert found == {"number": up, "-number": up[::-1], "best": best, "-best": best[::-1]}[sort]


def test_trials_come_once_each_on_both_databases(stage: Stage) -> None:
    made = run_some(stage)
    for sort in ("number", "-number", "best", "-best"):
        pages = stage.pages(f"/studies/{made}/trials", sort=sort, limit=3)
        assert sorted(numbers(list(chain(*pages)))) == list(range(20))
    found = numbers(list(chain(*stage.pages(f"/studies/{made}/trials", since=0, limit=3))))
    assert sorted(found) == list(range(20))


def test_the_default_page_is_by_number(shared: Stage, ran: str) -> None:
    assert numbers(shared.get(f"/studies/{ran}/trials")["data"]) == list(range(20))


@pytest.mark.parametrize(
    ("states", "expected"), [(["failed"], range(12, 16)), (["failed", "running"], range(12, 20)), (["queued"], [])]
)
def test_trials_by_state(shared: Stage, ran: str, states: list[str], expected: Any) -> None:
    pages = shared.pages(f"/studies/{ran}/trials", state=states, limit=3)
    assert numbers(list(chain(*pages))) == list(expected)


def test_fields_are_those_asked_for(shared: Stage, ran: str) -> None:
    (trial, *_) = shared.get(f"/studies/{ran}/trials", fields="number, values", limit=2)["data"]
    assert trial == {"number": 0, "values": {"val_accuracy": 0.0}}
    whole = shared.get(f"/studies/{ran}/trials")["data"][0]
    assert shared.get(f"/studies/{ran}/trials", fields=",".join(whole))["data"][0] == whole


@pytest.mark.parametrize(("fields", "said"), [("id,foo,bar", "bar, foo"), ("", "none"), (",", "none"), ("ID", "ID")])
def test_unknown_fields_are_named(shared: Stage, ran: str, fields: str, said: str) -> None:
    found = faults(shared.client.get(f"/v1/studies/{ran}/trials", params={"fields": fields}))["query.fields"]
    assert said in found
    assert "valid are id, study_id, number" in found


def test_deltas_skip_nothing_while_trials_change(stage: Stage) -> None:
    made = stage.create()["id"]
    claims = stage.worker.claim(queue="cpu", capacity=8)
    address = f"/studies/{made}/trials"
    seen: dict[int, dict[str, Any]] = {}
    since, cursor = 0, None
    for step in range(40):
        page = stage.get(address, since=since, limit=2, **({"cursor": cursor} if cursor else {}))
        for trial in page["data"]:
            seen[trial["number"]] = trial
        cursor = page["next"]
        if cursor is None:
            since = max([since, *(trial["seq"] for trial in seen.values())])
        if step < 8:  # between the pages trials end, those shown already and those still to come
            stage.worker.finish([Result(claims[(3 * step) % 8], TrialState.COMPLETED, values={"val_accuracy": 0.5})])
        if step == 5:
            stage.worker.claim(queue="cpu", capacity=4)
    assert list(seen.values()) != []
    assert sorted(seen.values(), key=lambda trial: trial["number"]) == stage.get(address)["data"]
    assert stage.get(address, since=since) == {"data": [], "next": None}


def test_deltas_come_in_the_order_of_change(shared: Stage, ran: str) -> None:
    found = shared.get(f"/studies/{ran}/trials", since=5, sort="best")["data"]
    seqs = [trial["seq"] for trial in found]
    assert seqs == sorted(seqs)
    assert min(seqs) > 5


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 1000])
def test_studies_come_once_each_newest_first(stage: Stage, limit: int) -> None:
    at = utc_now()

    def fill(connection: Any) -> None:
        for place in range(6):  # created in three moments, two studies in each
            now = at - timedelta(microseconds=place // 2)
            service.create_study(connection, stage.ledger.project, EXAMPLE_STUDIES["iris-grid"], now=now)

    stage.ledger.database.write(fill)
    found = list(chain(*stage.pages("/studies", limit=limit)))
    assert len({made["id"] for made in found}) == 6
    order = [(made["created_at"], made["id"]) for made in found]
    assert order == sorted(order, reverse=True)


def test_studies_by_state(stage: Stage) -> None:
    running, paused = stage.create(study("wine-random"))["id"], stage.create()["id"]
    stage.client.post(f"/v1/studies/{paused}:pause")
    assert [made["id"] for made in stage.get("/studies", state="running")["data"]] == [running]
    assert [made["id"] for made in stage.get("/studies", state="paused")["data"]] == [paused]
    assert stage.get("/studies", state="failed") == {"data": [], "next": None}


ODD = "a\"b'c$[0].\\ é%"


def test_studies_by_label(stage: Stage) -> None:
    labelled = [{"team": "a", "kind": "x"}, {"team": "b", "kind": "x"}, {ODD: ODD, "empty": ""}, {}]
    made = [stage.create(study("iris-grid", labels=labels))["id"] for labels in labelled]
    for labels, expected in (
        (["team=a"], [0]),
        (["team"], [0, 1]),
        (["kind=x"], [0, 1]),
        (["kind=x", "team=b"], [1]),
        (["kind=x", "team=c"], []),
        ([f"{ODD}={ODD}"], [2]),
        (["empty="], [2]),
        (["a"], []),
        (["%"], []),
        ([], [0, 1, 2, 3]),
    ):
        found = chain(*stage.pages("/studies", label=labels, limit=1))
        assert [item["id"] for item in found] == [made[place] for place in reversed(expected)], labels


@pytest.mark.parametrize("label", ["", "=a", "a\0", "a=\n", "a" * 5000])
def test_labels_that_are_none(stage: Stage, label: str) -> None:
    assert faults(stage.client.get("/v1/studies", params={"label": label})).keys() == {"query.label"}


def encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


FORGED = [
    "", "x", "!", "a b", "é", "\0", "A" * 512, "====", encode("{}"), encode("[]"), encode("null"), encode("[1"),
    encode("[" * 300), encode('["number"]'), encode('["number",1,2,3]'), encode('["number",true,true]'),
    encode('["number","1",2]'), encode('["number",null,null]'), encode('["number",NaN,1]'), encode('["number",1e999,1]'),
    encode('["number",1.5,1]'), encode('["number",1,1.5]'), encode('["number",-1,1]'), encode('["number",1,-1]'),
    encode('["number",2147483648,1]'), encode('["number",1,2147483648]'), encode('["number",1e300,1]'),
    encode(f'["number",{10**30},1]'), encode(f'["number",1,{10**30}]'), encode(f'["seq",{2**63},1]'),
    encode('["best",1e999,1]'), encode('["best",-Infinity,1]'), encode('["best",NaN,1]'), encode('["best",1,true]'),
    encode(f'["best",{10**400},1]'), encode('["studies",1,"x"]'), encode('["studies",1,1]'),
    encode(f'["studies",{10**18},"0000000000000"]'),
    encode(f'["studies",{-(10**18)},"0000000000000"]'), encode(f'["studies",{10**30},"0000000000000"]'),
    encode('["studies",1.5,"0000000000000"]'), encode('["studies",true,"0000000000000"]'),
    encode('["trials",1,"0000000000000"]'), encode('["studies","1","0000000000000"]'), encode('["studies",1,"\\ud800"]'),
]  # fmt: skip


@pytest.mark.parametrize("query", [{}, {"sort": "best"}, {"sort": "-number"}, {"since": 0}], ids=str)
def test_forged_cursors_of_trials_are_refused(shared: Stage, ran: str, query: dict[str, Any]) -> None:
    for cursor in FORGED:
        reply = shared.client.get(f"/v1/studies/{ran}/trials", params={**query, "cursor": cursor})
        assert faults(reply).keys() == {"query.cursor"}, cursor


def test_forged_cursors_of_studies_are_refused(stage: Stage) -> None:
    for cursor in FORGED:
        assert faults(stage.client.get("/v1/studies", params={"cursor": cursor})).keys() == {"query.cursor"}, cursor


def test_forged_cursors_of_pages_are_refused(stage: Stage) -> None:
    made = run_some(stage)
    for cursor in [*FORGED, encode("[1,2147483648]"), encode(f"[1e300,{2**62}]")]:
        for address in ("/", f"/studies/{made}"):
            assert stage.client.get(address, params={"cursor": cursor}).status_code == 422, cursor


def test_a_cursor_is_of_its_own_list(shared: Stage, ran: str) -> None:
    cursors = {sort: shared.get(f"/studies/{ran}/trials", sort=sort, limit=1)["next"] for sort in ("number", "best")}
    cursors["seq"] = shared.get(f"/studies/{ran}/trials", since=0, limit=1)["next"]
    shared.create()
    cursors["studies"] = shared.get("/studies", limit=1)["next"]
    for cursor in cursors.values():
        assert CURSOR.fullmatch(cursor)
    queries: dict[str, dict[str, Any]] = {"number": {}, "best": {"sort": "best"}, "seq": {"since": 0}}
    for order, query in queries.items():
        for other, cursor in cursors.items():
            reply = shared.client.get(f"/v1/studies/{ran}/trials", params={**query, "cursor": cursor})
            assert reply.status_code == (200 if other == order else 422)
    assert shared.client.get("/v1/studies", params={"cursor": cursors["number"]}).status_code == 422


def test_a_cursor_changed_by_one_letter_is_never_a_fault_of_the_service(stage: Stage) -> None:
    made = run_some(stage)
    lists: list[tuple[str, dict[str, Any]]] = [
        ("/studies", {"limit": 1}),
        (f"/studies/{made}/trials", {"limit": 1, "sort": "best"}),
        (f"/studies/{made}/trials", {"limit": 1, "since": 0}),
    ]
    for path, query in lists:
        stage.create()
        cursor = stage.get(path, **query)["next"]
        for place in range(len(cursor)):
            for letter in "A9_":
                forged = cursor[:place] + letter + cursor[place + 1 :]
                reply = stage.client.get(f"/v1{path}", params={**query, "cursor": forged})
                assert reply.status_code in {200, 422}, forged


@pytest.mark.parametrize("parts", [("number", 3, 3), ("best", -1.7976931348623157e308, 0), ("studies", 10**15, "?>~ÿ")])
def test_cursors_use_few_letters(parts: tuple[Any, ...]) -> None:
    assert CURSOR.fullmatch(write_cursor(*parts))
    assert json.loads(base64.urlsafe_b64decode(write_cursor(*parts) + "==")) == list(parts)


def test_the_largest_place_can_be_read_back(shared: Stage, ran: str) -> None:
    for order, query in (("number", {}), ("seq", {"since": 0})):
        cursor = write_place(order, 2**31 - 1, 2**31 - 1)
        assert shared.get(f"/studies/{ran}/trials", cursor=cursor, **query)["data"] == []


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"limit": 0}, "query.limit"),
        ({"limit": 1001}, "query.limit"),
        ({"limit": "x"}, "query.limit"),
        ({"limit": "1e2"}, "query.limit"),
        ({"limit": "9" * 5000}, "query.limit"),
        ({"sort": "x"}, "query.sort"),
        ({"since": -1}, "query.since"),
        ({"since": 2**53 + 1}, "query.since"),
        ({"state": "x"}, "query.state.0"),
        ({"cursor": "x" * 513}, "query.cursor"),
    ],
)
def test_bad_parameters_are_named(shared: Stage, ran: str, query: dict[str, Any], path: str) -> None:
    assert faults(shared.client.get(f"/v1/studies/{ran}/trials", params=query)).keys() == {path}
