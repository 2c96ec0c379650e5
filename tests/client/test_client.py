import time
from typing import Any

import httpx2
import pytest

import tuneup
from tests.client.fake_service import Answer, FakeService, Mishap, problem
from tuneup import errors
from tuneup.wire import RETRIES, is_loopback

Definition = dict[str, Any]


def test_a_study_is_created_waited_for_and_read(
    client: tuneup.Client, service: FakeService, definition: Definition
) -> None:
    service.step = 2
    seen: list[int] = []
    study = client.create_study(definition).wait(poll=0.01, on_progress=lambda s: seen.append(s.progress["finished"]))
    assert (study.state, study.ended, seen) == ("completed", True, [2, 4])
    assert study.best()["params"] == {"lr": 0.01, "optimizer": "sgd"}
    assert study.picture() == b"<svg/>"
    assert client.get_study(study.id).data == study.data
    assert service.of("POST")[0].body == definition


def test_pages_are_walked_to_the_end(client: tuneup.Client, service: FakeService, definition: Definition) -> None:
    definition["budget"]["trials"] = 8
    study = client.create_study(definition).wait()
    assert [trial["number"] for trial in study.trials()] == list(range(8))
    assert [trial["number"] for trial in study.trials(state="pruned")] == [1, 3, 5, 7]
    assert [trial["number"] for trial in study.trials(since=4)] == [4, 5, 6, 7]
    for _ in range(4):
        client.create_study(definition)
    assert len({study.id for study in client.studies()}) == 5
    assert len(list(client.studies(state="completed"))) == 1
    assert {request.query["limit"] for request in service.of("GET") if "trials" in request.path} == {"200"}


def test_pages_are_fetched_as_they_are_consumed(
    client: tuneup.Client, service: FakeService, definition: Definition
) -> None:
    study = client.create_study(definition).wait()
    before = len(service.requests)
    next(study.trials())
    assert len(service.requests) == before + 1


def test_the_verbs_of_a_study(client: tuneup.Client, service: FakeService, definition: Definition) -> None:
    study = client.create_study(definition)
    assert study.pause().state == "paused"
    assert study.resume().state == "running"
    assert study.cancel().state == "cancelled"
    keys = [request.headers["idempotency-key"] for request in service.of("POST")]
    assert len(set(keys)) == 4
    study.delete()
    with pytest.raises(errors.NotFound):
        study.refresh()


def test_best_before_any_result_is_not_found(client: tuneup.Client, definition: Definition) -> None:
    with pytest.raises(errors.NotFound, match="no trial has completed"):
        client.create_study(definition).best()


LOST = Mishap(late=True)
CLOSED = Mishap()
BUSY = Mishap(problem(503, "Busy", "come back"))


@pytest.mark.parametrize("mishaps", [[CLOSED], [BUSY], [LOST], [LOST, BUSY, CLOSED, LOST]])
def test_creation_is_retried_under_one_key_and_makes_one_study(
    client: tuneup.Client, service: FakeService, definition: Definition, pauses: list[int], mishaps: list[Mishap]
) -> None:
    service.mishaps.extend(mishaps)
    study = client.create_study(definition)
    posts = service.of("POST")
    assert len(posts) == len(mishaps) + 1
    assert len({post.headers["idempotency-key"] for post in posts}) == 1
    assert all(post.body == definition for post in posts)
    assert list(service.studies) == [study.id]
    assert pauses == list(range(len(mishaps)))


def test_two_creations_have_two_keys_unless_one_is_given(
    client: tuneup.Client, service: FakeService, definition: Definition
) -> None:
    assert client.create_study(definition).id != client.create_study(definition).id
    one, other = (client.create_study(definition, idempotency_key="commit-1") for _ in range(2))
    assert one.id == other.id
    assert service.of("POST")[-1].headers["idempotency-key"] == "commit-1"


@pytest.mark.parametrize("status", [502, 503, 504])
def test_reads_are_retried_and_then_given_up(
    client: tuneup.Client, service: FakeService, definition: Definition, pauses: list[int], status: int
) -> None:
    study = client.create_study(definition)
    service.mishaps.extend([Mishap(problem(status, "Away"))] * 20)
    with pytest.raises(errors.Unreachable, match=f"{status} Away"):
        study.refresh()
    assert pauses == list(range(RETRIES + 1))
    assert len(service.of("GET")) == RETRIES + 1


def test_retry_after_is_honoured(client: tuneup.Client, service: FakeService, definition: Definition) -> None:
    service.mishaps.append(Mishap(problem(503, "Busy", Retry_After="1")))
    begun = time.monotonic()
    client.create_study(definition)
    assert time.monotonic() - begun >= 1.0


@pytest.mark.parametrize("refusal", [(409, errors.Conflict), (429, errors.ApiError)])
def test_a_conflict_is_retried_only_where_the_service_says_when(
    client: tuneup.Client,
    service: FakeService,
    definition: Definition,
    pauses: list[int],
    refusal: tuple[int, type[Exception]],
) -> None:
    status, kind = refusal
    service.mishaps.append(Mishap(problem(status, "Twin in progress", Retry_After="0")))
    client.create_study(definition)
    service.mishaps.append(Mishap(problem(status, "No")))
    with pytest.raises(kind):
        client.create_study(definition)
    assert len(service.of("POST")) == 3
    assert len(pauses) == 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, errors.ApiError), (401, errors.Unauthorized), (403, errors.Unauthorized), (500, errors.ApiError)],
)
def test_other_refusals_are_raised_at_once(
    client: tuneup.Client, service: FakeService, pauses: list[int], status: int, kind: type[errors.ApiError]
) -> None:
    service.mishaps.append(Mishap(problem(status, "Refused", "for a reason")))
    with pytest.raises(errors.ApiError, match="Refused: for a reason") as caught:
        client.get_study("x")
    assert (type(caught.value), caught.value.status, pauses) == (kind, status, [])


def test_a_bad_study_carries_every_fault(client: tuneup.Client) -> None:
    with pytest.raises(errors.BadStudy) as caught:
        client.create_study({"name": "x"})
    assert caught.value.status == 422
    assert [str(fault) for fault in caught.value.faults] == ["objective: is missing", "space: is missing"]
    assert str(caught.value) == "Bad study: 2 faults\n  objective: is missing\n  space: is missing"


def test_the_text_of_a_bad_study_stays_short() -> None:
    faults = [errors.Fault(f"space.x{number}", "is wrong") for number in range(23)]
    lines = str(errors.BadStudy(status=422, title="Bad study", faults=faults)).splitlines()
    assert (len(lines), lines[20], lines[21]) == (22, "  space.x19: is wrong", "  and 3 more")
    assert "more" not in str(errors.BadStudy(status=422, title="Bad study", faults=faults[:20]))


def test_workers_are_listed(client: tuneup.Client) -> None:
    assert [worker["queue"] for worker in client.workers()] == ["cpu"]


@pytest.mark.parametrize("status", [400, 413])
def test_a_body_that_is_refused_is_a_bad_study_too(
    client: tuneup.Client, service: FakeService, definition: Definition, status: int
) -> None:
    service.mishaps.append(Mishap(problem(status, "Too much")))
    with pytest.raises(errors.BadStudy):
        client.create_study(definition)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "<html>", "text/html"),
        Answer(200, [1, 2]),
        Answer(307, "", headers={"Location": "/login"}),
        Answer(404, "<html>", "text/html"),
        Answer(418, {"title": 7, "errors": [3, {"path": None}]}),
    ],
)
def test_answers_of_something_else_are_tolerated(client: tuneup.Client, service: FakeService, answer: Answer) -> None:
    service.mishaps.append(Mishap(answer))
    with pytest.raises(errors.ApiError) as caught:
        client.get_study("x")
    assert caught.value.status == answer.status


def test_the_key_is_sent_and_asked_for(
    client: tuneup.Client, service: FakeService, url: str, definition: Definition, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.api_key = "secret"
    with pytest.raises(errors.Unauthorized):
        client.create_study(definition)
    with tuneup.Client(url, api_key="secret") as given:
        given.create_study(definition)
    monkeypatch.setenv("TUNEUP_API_KEY", "secret\n")
    with tuneup.Client() as from_environment:
        assert from_environment.url == url
        from_environment.create_study(definition)


@pytest.mark.parametrize("key", ["a\nb", "\u00e9t\u00e9"])
def test_a_key_that_no_header_can_carry_is_refused(url: str, key: str) -> None:
    with pytest.raises(errors.TuneupError, match="API key"):
        tuneup.Client(url, api_key=key)


@pytest.mark.parametrize("address", ["localhost:8000", "ftp://x", "http://", "http://x:port", "nonsense"])
def test_an_address_that_cannot_be_one_is_refused(address: str) -> None:
    with pytest.raises(errors.Unreachable, match="is not an address"):
        tuneup.Client(address)


def test_nobody_there(pauses: list[int]) -> None:
    with (
        tuneup.Client("http://127.0.0.1:9", retries=2) as client,
        pytest.raises(errors.Unreachable, match=r"127\.0\.0\.1:9"),
    ):
        client.get_study("x")
    assert pauses == [0, 1, 2]


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    url: str, definition: Definition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with tuneup.Client(url, retries=0) as client:
        client.create_study(definition)


def test_ids_cannot_leave_their_place_in_the_path(client: tuneup.Client, service: FakeService) -> None:
    with pytest.raises(errors.NotFound):
        client.get_study("../studies?x=1")
    assert service.requests[-1].path == "/v1/studies/..%2Fstudies%3Fx%3D1"


def test_waiting_ends_with_the_time_given(client: tuneup.Client, service: FakeService, definition: Definition) -> None:
    service.step = 0
    study = client.create_study(definition)
    begun = time.monotonic()
    with pytest.raises(errors.TimedOut, match="goes on running"):
        study.wait(timeout=0.2, poll=60)
    assert 0.2 <= time.monotonic() - begun < 30
    assert study.state == "running"


def test_a_silent_service_does_not_stretch_the_time_given(
    client: tuneup.Client, service: FakeService, definition: Definition
) -> None:
    study = client.create_study(definition)
    service.mishaps.extend([Mishap(hang=60.0)] * 5)
    begun = time.monotonic()
    with pytest.raises(errors.TimedOut):
        study.wait(timeout=0.3, poll=0.05)
    assert time.monotonic() - begun < 30


def test_waiting_survives_a_restart_of_the_service(
    client: tuneup.Client, service: FakeService, definition: Definition, pauses: list[int]
) -> None:
    study = client.create_study(definition)
    service.mishaps.extend([CLOSED] * (2 * RETRIES + 3))
    assert study.wait(poll=0.01).state == "completed"
    assert len(pauses) == 2 * RETRIES + 3


def test_patience_with_a_service_that_stays_away_ends(
    client: tuneup.Client, service: FakeService, definition: Definition, pauses: list[int]
) -> None:
    study = client.create_study(definition)
    service.mishaps.extend([CLOSED] * 1000)
    with pytest.raises(errors.Unreachable):
        study.wait(poll=0.01, patience=0.1)
    assert len(pauses) > RETRIES


def test_a_transport_may_replace_the_network() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(404, json={"title": "Not found", "detail": str(request.url)})

    with (
        tuneup.Client("http://in.process", transport=httpx2.MockTransport(answer)) as client,
        pytest.raises(errors.NotFound, match=r"http://in\.process/v1/studies/x"),
    ):
        client.get_study("x")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False),  # noqa: S104
     ("::", False), ("10.0.0.1", False), ("tuneup.example", False), ("", False)],
)  # fmt: skip
def test_loopback(host: str, *, loopback: bool) -> None:
    assert is_loopback(host) is loopback
