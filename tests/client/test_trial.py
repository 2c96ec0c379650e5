"""The SDK's trials against the real application, in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from tests.api.stage import Stage, opened, study
from tuneup import Client, cli, errors

RANDOM = study("wine-random")


class Wires(httpx2.BaseTransport):
    """The application as a network, which loses the replies to the first `lost` POSTs after they were carried out."""

    def __init__(self, transport: httpx2.BaseTransport) -> None:
        self.transport = transport
        self.lost = 0
        self.posts: list[httpx2.Request] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self.transport.handle_request(request)
        if request.method == "POST":
            self.posts.append(request)
            if self.lost > 0:
                self.lost -= 1
                raise httpx2.ReadError("the reply is lost", request=request)
        return answer


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("service")
    with opened(f"sqlite:///{folder / 'tuneup.db'}") as made:
        yield made


@pytest.fixture
def wires(stage: Stage) -> Iterator[Wires]:
    transport: Any = stage.client._transport
    yield Wires(transport)
    stage.clear()


@pytest.fixture
def client(wires: Wires) -> Client:
    return connect(wires)


def connect(wires: Wires) -> Client:
    return Client("http://testserver", transport=wires)


def test_a_study_run_from_python(client: Client) -> None:
    made = client.create_study({**RANDOM, "budget": {"trials": 3}})
    for trial in [*made.ask(count=2), *client.ask(made.id)]:
        assert trial.state == "running"
        assert float(str(trial.params["lr"])) > 0
        for step in (1, 2):
            assert trial.report(step, {"val_loss": 1.0 / (step + trial.number)}) is None
        assert trial.renew() is None
        assert trial.tell().values == {"val_loss": 1.0 / (2 + trial.number)}
    assert made.ask() == []
    assert made.refresh().state == "completed"
    assert made.best()["trial"]["number"] == 2


def test_pruning_and_cancelling_say_why(client: Client) -> None:
    made = client.create_study({**RANDOM, "pruning": {"kind": "asha", "reduction": 2}})
    good, bad, other = made.ask(count=3)
    good.report(1, {"val_loss": 0.1})
    why = bad.report(1, {"val_loss": 0.9})
    assert why is not None
    assert why.startswith("asha")
    assert bad.renew() == why
    assert bad.tell({"val_loss": 0.9}).state == "pruned"
    assert client.get_trial(other.id).cancel().state == "running"
    assert other.renew() == "cancelled"
    assert other.release().state == "cancelled"


def test_a_trial_that_waits_is_given_out_again(client: Client) -> None:
    pruning = {"kind": "asha", "reduction": 2, "mode": "promote"}
    made = client.create_study({**RANDOM, "objective": {"external": True, "steps": 4}, "pruning": pruning})
    good, bad = made.ask(count=2)
    assert good.waiting_step is None
    assert (good.report(1, {"val_loss": 0.1}) or "").startswith("asha: waits at step 1")
    assert good.tell().state == "queued"
    bad.report(1, {"val_loss": 0.9})
    (again, *_) = made.ask(count=1, client_id="other")
    assert (again.id, again.waiting_step, again.data["attempt"]) == (good.id, 1, 2)
    assert again.report(4, {"val_loss": 0.05}) is None
    assert again.tell().state == "completed"


def test_failures_are_told_and_retried(client: Client, wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    made = client.create_study({**RANDOM, "budget": {"trials": 2}})
    broken, unstable = made.ask(count=2)
    assert (
        broken.tell(state="failed", reason="Traceback\nKeyError: 'lr'").data["reason"] == "user_error: KeyError: 'lr'"
    )
    assert unstable.tell(state="diverged").state == "diverged"
    assert made.refresh().state == "failed"
    monkeypatch.setattr(cli, "Client", lambda *_, **__: connect(wires))
    said = CliRunner().invoke(cli.app, ["retry", broken.id])
    assert (said.exit_code, said.stderr) == (0, f"trial {broken.id} is queued\n")
    assert CliRunner().invoke(cli.app, ["retry", broken.id]).exit_code == 0, "twice is once"
    (again,) = made.ask()
    said = CliRunner().invoke(cli.app, ["retry", broken.id])
    assert said.exit_code == 1
    assert "only a failed one can be retried" in said.stderr
    assert (again.id, again.data["attempt"]) == (broken.id, 2)
    assert made.refresh().state == "running"
    with pytest.raises(errors.Conflict) as late:
        broken.tell({"val_loss": 0.1})
    assert [fault.path for fault in late.value.faults] == ["token"]
    assert again.release(reason="shutdown").refresh().state == "queued"


def test_lost_replies_are_asked_for_again_and_change_nothing_twice(
    client: Client, wires: Wires, stage: Stage, pauses: list[int]
) -> None:
    made = client.create_study(RANDOM)
    wires.lost = 2
    (trial,) = made.ask()
    assert stage.rows()["trial"] == 1
    wires.lost = 1
    trial.report(1, {"val_loss": 0.5})
    wires.lost = 1
    assert trial.tell({"val_loss": 0.5}).state == "completed"
    assert len(pauses) == 4
    keys = [request.headers["idempotency-key"] for request in wires.posts]
    assert (len(keys), len(set(keys))) == (8, 4)


def test_a_restarted_client_goes_on_with_what_it_held(client: Client, stage: Stage) -> None:
    made = client.create_study(RANDOM)
    (before,) = made.ask(client_id="me", lease_seconds=600)
    (after,) = made.ask(client_id="me")
    assert (after.id, after.token, after.params) == (before.id, before.token, before.params)
    known = client.get_trial(before.id, token=before.token)
    assert known.tell({"val_loss": 0.5}).state == "completed"
    assert [lease.seconds for lease in stage.ledger.rows("lease")] == []


def test_a_trial_that_was_not_asked_for_cannot_be_told(client: Client, stage: Stage) -> None:
    made = client.create_study(RANDOM)
    (trial,) = made.ask()
    before = stage.ledger.dump()
    known = client.get_trial(trial.id)
    with pytest.raises(ValueError, match=r"Client\.ask"):
        known.tell({"val_loss": 0.5})
    with pytest.raises(ValueError, match=r"Client\.ask"):
        known.renew()
    assert stage.ledger.dump() == before
    with pytest.raises(errors.NotFound):
        client.get_trial("x")


class Number:
    """What numpy and torch hold a single number in has this method."""

    def __init__(self, value: float) -> None:
        self.value = value

    def item(self) -> float:
        return self.value


def test_values_may_be_arrays_of_one_number(client: Client) -> None:
    (trial,) = client.create_study(RANDOM).ask()
    assert trial.report(1, {"val_loss": Number(0.5)}) is None
    assert trial.tell().values == {"val_loss": 0.5}


@pytest.mark.parametrize("bad", ["0.5", None, True, [0.5]])
def test_what_is_no_number_is_named(client: Client, bad: Any) -> None:
    (trial,) = client.create_study(RANDOM).ask()
    with pytest.raises(TypeError, match="val_loss must be a number"):
        trial.report(1, {"val_loss": bad})
    with pytest.raises(TypeError, match="values must be a mapping"):
        trial.report(1, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Number(float("-inf"))])
def test_a_loss_that_left_the_numbers_ends_the_trial_as_diverged(client: Client, value: Any) -> None:
    (trial,) = client.create_study(RANDOM).ask()
    reason = trial.report(3, {"val_loss": value})
    assert reason is not None
    assert reason.startswith("val_loss is ")
    assert trial.tell().state == "diverged"
    assert trial.refresh().data["reason"] == reason


def test_each_trial_of_a_study_comes_in_turn_until_it_has_ended(client: Client) -> None:
    made = client.create_study({**RANDOM, "budget": {"trials": 4}})
    numbers = [trial.tell({"val_loss": 0.5}).number for trial in made.ask_each(client_id="box")]
    assert numbers == [0, 1, 2, 3]
    assert made.state == "completed"


def test_who_runs_a_trial_outlasts_a_restart_of_the_service(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more failures than a request is repeated for otherwise."""
    monkeypatch.setattr("tuneup.wire.backoff", lambda *_, **__: 0.0)
    (trial,) = connect(wires).create_study(RANDOM).ask()
    wires.lost = 50
    assert trial.report(1, {"val_loss": 0.5}) is None
    impatient = Client("http://testserver", transport=wires, patience=0.0)
    wires.lost = 50
    with pytest.raises(errors.Unreachable):
        impatient.ask(trial.data["study_id"])
    wires.lost = 0
