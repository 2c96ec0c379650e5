"""The trainer process over a real socket pair: what it says, when it stops, how it ends, warm equals fresh."""

import json
import queue
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch

from tests.training.supervisor import Supervisor
from training import __main__ as trainer
from training import channel, protocol, recipes

IRIS = {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [8]}, "epochs": 4}
DIGITS = {"recipe": "classifier", "data": "digits", "network": {"kind": "mlp", "hidden": [16]}, "epochs": 3}
LONG = DIGITS | {"epochs": 10_000}


@pytest.fixture
def fresh() -> Iterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    supervisor.close()


@pytest.fixture(scope="module")
def warm() -> Iterator[Supervisor]:
    supervisor = Supervisor()
    assert supervisor.receive() == {"type": "ready", "pid": supervisor.process.pid}
    yield supervisor
    supervisor.close()


def test_runs_a_trial_to_its_end(warm: Supervisor) -> None:
    seen, done = warm.run(IRIS, {"optimizer": "adam", "lr": 0.01})
    assert done == {"type": "done", "trial": "t", "outcome": "completed", "reason": None, "error": None}
    assert [message["step"] for message in seen] == [1, 2, 3, 4]
    assert {message["trial"] for message in seen} == {"t"}
    assert set(seen[0]["values"]) == {"train_loss", "val_loss", "val_accuracy", "grad_norm", "update_ratio"}


def test_warm_equals_fresh(warm: Supervisor, fresh: Supervisor) -> None:
    """A trainer that already ran, failed and was stopped gives the very numbers of a fresh one."""
    cnn = DIGITS | {"network": {"kind": "cnn", "channels": [4]}}
    warm.run(cnn, {"optimizer": "rmsprop", "lr": 0.01}, seed=99)
    warm.run(IRIS, {"optimizer": "nothing"})
    warm.run(DIGITS, {"optimizer": "sgd", "lr": 1e3})
    assert fresh.receive()["type"] == "ready"
    for objective in (cnn, DIGITS):
        params = {"optimizer": "adam", "lr": 0.01, "warmup": 0.1}
        assert warm.run(objective, params) == fresh.run(objective, params)


def test_divergence_is_an_outcome(warm: Supervisor) -> None:
    seen, done = warm.run(DIGITS, {"optimizer": "sgd", "lr": 1e3})
    assert seen == []
    assert done["outcome"] == "diverged"
    assert done["reason"].startswith("epoch 1")
    assert done["error"] is None


@pytest.mark.parametrize(
    ("objective", "params", "reason"),
    [
        (IRIS, {"optimizer": "adagard"}, "ValueError: unknown optimizer 'adagard'; valid: sgd, momentum"),
        (IRIS | {"recipe": "poem"}, {}, "ValueError: unknown recipe 'poem'; valid: classifier"),
        (IRIS | {"network": 5}, {}, "AttributeError"),
        (DIGITS | {"network": {"kind": "mlp", "hidden": [10**13]}}, {}, "out_of_memory"),
    ],
)
def test_a_failure_is_told_and_the_trainer_goes_on(
    warm: Supervisor, objective: dict[str, Any], params: dict[str, Any], reason: str
) -> None:
    seen, done = warm.run(objective, params)
    assert seen == []
    assert done["outcome"] == "failed"
    assert done["reason"].startswith(reason)
    assert len(done["reason"]) <= 200
    assert "Traceback" in done["error"]
    assert warm.run(IRIS, {"lr": 0.01})[1]["outcome"] == "completed"


def test_waits_for_each_verdict_and_heeds_it(warm: Supervisor) -> None:
    warm.start("t", LONG, {"lr": 0.01}, wait=True)
    for step in (1, 2, 3):
        assert warm.receive()["step"] == step
        warm.send({"type": "verdict", "trial": "other", "step": step, "stop": True, "reason": "not for this trial"})
        warm.send({"type": "verdict", "trial": "t", "step": step - 1, "stop": False, "reason": None})
        warm.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            warm.socket.recv(1, socket.MSG_PEEK)
        warm.socket.settimeout(60)
        warm.send(
            {
                "type": "verdict",
                "trial": "t",
                "step": step,
                "stop": step == 3,
                "reason": "rung 3" if step == 3 else None,
            }
        )
    seen, done = warm.finish()
    assert seen == []
    assert (done["outcome"], done["reason"]) == ("stopped", "rung 3")


class Silent(channel.Channel):
    """A supervisor that listens and never answers."""

    def __init__(self) -> None:
        self._inbox = queue.SimpleQueue()

    def send(self, message: Mapping[str, Any]) -> None:
        del message


def test_goes_on_when_a_verdict_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "VERDICT_SECONDS", 0.1)
    began = time.monotonic()
    outcome = trainer.attempt(channel.Start("t", IRIS, {"lr": 0.01}, seed=1, wait=True), Silent())
    assert outcome.outcome == "completed"
    assert time.monotonic() - began >= 4 * 0.1


class Counting(Silent):
    """A supervisor that notes on how many threads torch computes whenever a measurement comes."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "measurement":
            self.threads.append(torch.get_num_threads())


@pytest.mark.parametrize(("batch_size", "taken"), [(64, 1), (128, 2)])
def test_a_wide_network_is_trained_on_as_many_threads_as_pay(batch_size: int, taken: int) -> None:
    supervisor = Counting()
    goal = {"recipe": "wide-two-layer", "data": "digits_parity", "epochs": 1, "width": 13_000, "reporter": "lists"}
    start = channel.Start("t", goal, {"batch_size": batch_size}, seed=1, wait=False)
    outcome = trainer.attempt(start, supervisor, threads=2)
    assert (outcome.outcome, supervisor.threads) == ("completed", [taken])


def test_other_trials_take_one_thread() -> None:
    supervisor = Counting()
    assert (
        trainer.attempt(channel.Start("t", IRIS, {}, seed=1, wait=False), supervisor, threads=2).outcome == "completed"
    )
    assert supervisor.threads == [1, 1, 1, 1]


def test_stop_ends_a_trial_between_epochs(warm: Supervisor) -> None:
    for wait in (False, True):
        warm.start("t", LONG, {"lr": 0.01}, wait=wait)
        assert warm.receive()["type"] == "measurement"
        warm.send({"type": "stop", "trial": "t", "reason": "cancelled"})
        _, done = warm.finish()
        assert (done["outcome"], done["reason"]) == ("stopped", "cancelled")


def test_a_stop_for_another_trial_is_not_heeded(warm: Supervisor) -> None:
    warm.send({"type": "stop", "trial": "earlier", "reason": "cancelled"})
    assert warm.run(IRIS, {"lr": 0.01})[1]["outcome"] == "completed"


def test_a_stop_that_came_too_late_does_not_end_the_next_attempt(warm: Supervisor) -> None:
    assert warm.run(IRIS, {"lr": 0.01})[1]["outcome"] == "completed"
    warm.send({"type": "stop", "trial": "t", "reason": "cancelled"})
    assert warm.run(IRIS, {"lr": 0.01}, attempt=2)[1]["outcome"] == "completed"


def test_exits_at_end_of_file_even_while_it_computes(fresh: Supervisor) -> None:
    assert fresh.receive()["type"] == "ready"
    fresh.start("t", LONG, {"lr": 0.01})
    assert fresh.receive()["type"] == "measurement"
    began = time.monotonic()
    assert fresh.hang_up() == 0
    assert time.monotonic() - began < 5


def test_a_protocol_error_ends_it_with_code_2(fresh: Supervisor) -> None:
    fresh.socket.sendall(b"not json\n")
    errors = fresh.errors()
    assert fresh.process.returncode == channel.PROTOCOL_ERROR
    assert "trainer: protocol error" in errors


@pytest.mark.parametrize(
    "line",
    [
        b"[]\n",
        b'{"type": "dance"}\n',
        b'{"type": "start", "trial": "t"}\n',
        b'{"type": "start", "trial": "t", "objective": 5, "params": {}, "seed": 1}\n',
        b'{"type": "stop"}\n',
        b'{"type": "verdict", "trial": "t", "step": 1}\n',
    ],
)
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        channel.understand(line)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), "device"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), "device"),
        (recipes.NoDevice("the objective asks for a gpu"), "device"),
        (ValueError("CUDA error"), "ValueError: CUDA error"),
        (RuntimeError("shapes differ\nat some place"), "RuntimeError: shapes differ"),
        (ValueError("x" * 500), "ValueError: " + "x" * 188),
    ],
)
def test_reasons_are_short(error: Exception, reason: str) -> None:
    assert trainer.reason_of(error) == reason


def test_tracebacks_keep_their_end() -> None:
    text = protocol.tail("é" * 70_000 + " the end")
    assert len(text.encode()) <= protocol.ERROR_BYTES
    assert text.endswith("é the end")


def test_reset_undoes_what_a_trial_left() -> None:
    trainer.reset(5)
    wanted = torch.rand(3)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_num_threads(2)
    trainer.reset(5)
    assert torch.equal(torch.rand(3), wanted)
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == 1


def test_protocol_refuses_what_is_no_message() -> None:
    message = {"type": "stop", "trial": "t", "reason": None}
    assert protocol.decode(protocol.encode(message)) == message
    for line in (b"[]", b"{}", b'{"type": 1}', b"\xff", b"{"):
        with pytest.raises(ValueError, match=r".*"):
            protocol.decode(line)
    with pytest.raises(ValueError, match="Out of range float values"):
        protocol.encode({"type": "measurement", "values": {"loss": float("nan")}})
    assert json.loads(protocol.encode({"type": "ready"})) == {"type": "ready"}
