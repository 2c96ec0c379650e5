"""The lab's process as the API holds it: warm, scrubbed, replaced when it died, killed when it hangs or we are gone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from api.lab import laboratory
from api.lab.errors import LabBusy, LabUnavailable
from api.lab.helper import Helper, Keeper, environment
from api.lab.laboratory import Laboratory
from tests.support.sources import ROOT

QUESTION: dict[str, object] = {"ask": "moving-average", "betas": [0.9], "correction": True, "format": "json"}
READY = "import sys, json, base64, time, os\nprint(json.dumps({'ready': True}), flush=True)\n"
# Answers every question with the environment it was started in, and the question.
ECHO = READY + (
    "for line in sys.stdin:\n"
    "    said = json.dumps({'pid': os.getpid(), 'env': dict(os.environ), 'asked': json.loads(line)}).encode()\n"
    "    print(json.dumps({'body': base64.b64encode(said).decode()}), flush=True)\n"
)
ONCE = READY + "sys.stdin.readline(); print(json.dumps({'body': ''}), flush=True); sys.exit(3)"
NEVER = READY + "time.sleep(600)"
FAULTY = READY + "sys.stdin.readline(); print(json.dumps({'error': 'ValueError: x'}), flush=True); time.sleep(600)"


def keeper_of(script: str, *, seconds: float = 60.0) -> Keeper:
    return Keeper(command=[sys.executable, "-c", script], answer_seconds=seconds)


@pytest.fixture
def echo() -> Iterator[Keeper]:
    made = keeper_of(ECHO)
    yield made
    made.close()


def gone(pid: int) -> bool:
    """Wait for a process to end, our own zombies counted as ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_nothing_starts_before_a_question_and_one_process_answers_all(echo: Keeper) -> None:
    assert echo.pid is None
    first, second = (json.loads(echo.ask({"n": n, "big": "x" * 100_000})) for n in (1, 2))
    assert first["pid"] == second["pid"] == echo.pid
    assert second["asked"]["n"] == 2
    assert os.getsid(first["pid"]) == first["pid"], "a session of its own"


def test_no_secret_reaches_it(echo: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TUNEUP_DATABASE_URL", "TUNEUP_BROKER_URL", "TUNEUP_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    seen = json.loads(echo.ask({}))["env"]
    assert "secret" not in seen.values()
    assert seen["PYTHONPATH"] == str(ROOT)
    assert environment({"PATH": "/bin", "X": "1"}).keys() == {
        "PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
    }  # fmt: skip


def test_one_that_died_is_replaced(echo: Keeper) -> None:
    first = json.loads(echo.ask({}))["pid"]
    os.kill(first, signal.SIGKILL)
    assert gone(first)
    assert json.loads(echo.ask({}))["pid"] != first


def test_one_that_ended_by_itself_is_replaced() -> None:
    made = keeper_of(ONCE)
    assert [made.ask({}), made.ask({})] == [b"", b""]
    made.close()


def test_one_that_never_answers_is_killed() -> None:
    made = keeper_of(NEVER, seconds=0.2)
    with pytest.raises(LabBusy, match="no answer within 0 s; ask for fewer optimizers or steps"):
        made.ask({})
    assert made.pid is None
    helper = Helper([sys.executable, "-c", NEVER])
    helper.kill()
    assert gone(helper.pid)


def test_one_that_does_not_start_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LabUnavailable, match="the lab's process failed: the lab's process ended with status"):
        keeper_of("raise SystemExit(7)").ask({})
    with pytest.raises(LabUnavailable, match="No such file"):
        Keeper(command=["/no/such/program"]).ask({})
    assert capfd.readouterr().out == ""


def test_a_fault_in_an_answer_is_ours() -> None:
    made = keeper_of(FAULTY)
    with pytest.raises(RuntimeError, match=r"could not answer .*: ValueError: x"):
        made.ask({"ask": "y"})
    made.close()


def test_it_ends_with_us_even_when_we_are_killed() -> None:
    script = (
        "import time\n"
        "from api.lab.helper import Keeper\n"
        f"keeper = Keeper(); keeper.ask({QUESTION!r}); print(keeper.pid, flush=True); time.sleep(600)"
    )
    api = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert api.stdout is not None
    helper = int(api.stdout.readline())
    assert not gone_now(helper)
    api.kill()
    api.communicate()
    assert gone(helper)


def gone_now(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_requests_take_turns_and_too_many_are_sent_away(echo: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laboratory, "PLACES", 3)
    answered: list[int] = []
    refused: list[int] = []

    async def one(lab: Laboratory, number: int) -> None:
        try:
            answered.append(json.loads(await lab.ask({"n": number}))["asked"]["n"])
        except LabBusy:
            refused.append(number)

    async def all_at_once() -> None:
        lab = Laboratory(echo)
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(one, lab, number)
        await one(lab, 9)

    anyio.run(all_at_once)
    assert sorted(answered) == [*sorted(set(range(5)) - set(refused)), 9]
    assert len(refused) == 2
