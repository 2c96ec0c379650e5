"""The lab's process as the API holds it: warm, scrubbed, replaced when it died, killed when it hangs or we are gone."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

from api.lab import helper as helper_module
from api.lab import laboratory
from api.lab.errors import LabBusy, LabUnavailable
from api.lab.helper import AnswerFailed, Helper, Keeper, environment
from api.lab.laboratory import Laboratory
from tests.support.sources import ROOT

QUESTION: dict[str, object] = {"ask": "moving-average", "betas": [0.9], "correction": True, "format": "json"}
START = (
    "import sys, json, base64, time, os\n"
    "def say(text): print(text, flush=True)\n"
    "def answer(number, body='eA=='): say(json.dumps({'id': number, 'body': body}))\n"
    "def heard(): return json.loads(sys.stdin.readline())['id']\n"
)
READY = START + "say(json.dumps({'ready': True}))\n"
# Answers every question with the environment it was started in, and the question.
ECHO = READY + (
    "for line in sys.stdin:\n"
    "    asked = json.loads(line)\n"
    "    said = json.dumps({'pid': os.getpid(), 'env': dict(os.environ), 'asked': asked['question']}).encode()\n"
    "    answer(asked['id'], base64.b64encode(said).decode())\n"
)
ONCE = READY + "answer(heard(), ''); sys.exit(3)"
NEVER = READY + "time.sleep(600)"
FAULTY = READY + "while True: say(json.dumps({'id': heard(), 'error': f'ValueError: x in {os.getpid()}'}))"
NOT_READY = ("[1]", "1", "{}", '{"ready": false}', '{"ready": 1}', '{"body": ""}', "garbage", "", "\xff", "[" * 100_000)
# What is said in place of an answer, as an expression of the question's id.
NO_ANSWER = {
    "garbage": "'garbage'",
    "nothing": "''",
    "no text": "chr(0)",
    "a list": "'[1]'",
    "deep": "'[' * 100_000",
    "a long number": "'9' * 5000",
    "ready again": "json.dumps({'ready': True})",
    "no id": "json.dumps({'body': 'eA=='})",
    "another id": "json.dumps({'id': 'x' + number, 'body': 'eA=='})",
    "an error without id": "json.dumps({'error': 'x'})",
    "an error of another": "json.dumps({'id': None, 'error': 'x'})",
    "an id alone": "json.dumps({'id': number})",
    "both": "json.dumps({'id': number, 'body': 'eA==', 'error': 'x'})",
    "no text as body": "json.dumps({'id': number, 'body': [1]})",
    "no text as error": "json.dumps({'id': number, 'error': None})",
    "no base64": "json.dumps({'id': number, 'body': '*'})",
    "not ASCII": "json.dumps({'id': number, 'body': chr(233)})",
    "half of base64": "json.dumps({'id': number, 'body': 'eA='})",
}


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
    for _ in range(2):
        with pytest.raises(AnswerFailed, match=r"could not answer .*'y'.*: ValueError: x in \d+") as caught:
            made.ask({"ask": "y"})
        assert str(caught.value).endswith(f" {made.pid}"), "the same process, which is in order"
    made.close()


@pytest.mark.parametrize("line", NOT_READY, ids=[line[:20] for line in NOT_READY])
def test_one_that_says_something_else_than_ready_is_not_used(line: str) -> None:
    made = keeper_of(START + f"say({line!r})\nwhile True: answer(heard())")
    with pytest.raises(LabUnavailable, match="process said what was not expected of it: '") as caught:
        made.ask({})
    assert len(str(caught.value)) < 300
    assert made.pid is None


@pytest.mark.parametrize("said", NO_ANSWER.values(), ids=NO_ANSWER)
def test_one_that_gives_no_answer_is_not_used_again(said: str) -> None:
    made = keeper_of(READY + f"while True:\n    number = heard()\n    say({said})")
    with pytest.raises(LabUnavailable, match="process said what was not expected of it: '") as caught:
        made.ask({})
    assert len(str(caught.value)) < 300
    assert made.pid is None


@pytest.mark.parametrize(
    "second", ["say('stray'); number = heard()", "answer('x'); number = heard()", "number = heard(); say('stray')"]
)
def test_a_stray_line_costs_a_process_and_shifts_no_answer(second: str) -> None:
    made = keeper_of(READY + f"answer(heard())\n{second}\nanswer(number, 'eQ==')\ntime.sleep(600)")
    assert made.ask({}) == b"x"
    first = made.pid
    assert made.ask({}) == b"x", "asked again of another process"
    assert first is not None
    assert gone(first)
    assert made.pid not in {None, first}
    made.close()


def test_one_that_talks_without_end_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper_module, "_LONGEST", 1 << 20)
    made = keeper_of(READY + "heard()\nwhile True: print('x' * 65536, end='', flush=True)")
    with pytest.raises(LabUnavailable, match="more than 1048576 bytes without an end of line"):
        made.ask({})
    assert made.pid is None


def test_any_other_error_ends_the_process(echo: Keeper) -> None:
    echo.ask({})
    first = echo.pid
    with pytest.raises(TypeError, match="not JSON serializable"):
        echo.ask({"no JSON": object()})
    assert echo.pid is None
    assert first is not None
    assert gone(first)
    assert json.loads(echo.ask({"n": 1}))["asked"] == {"n": 1}


@contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    """Hold so many open; skip the test where that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{wanted} descriptors are needed, {hard} are allowed")
    with ExitStack() as stack:
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(count):
            stack.enter_context(Path(os.devnull).open("rb"))
        yield


def test_many_open_descriptors_do_not_matter(echo: Keeper) -> None:
    with many_descriptors(1100):
        assert json.loads(echo.ask({"n": 1}))["asked"] == {"n": 1}
        assert min(echo_pipes(echo)) > 1024


def echo_pipes(keeper: Keeper) -> list[int]:
    assert keeper._helper is not None
    pipes = keeper._helper._process.stdin, keeper._helper._process.stdout
    return [pipe.fileno() for pipe in pipes if pipe is not None]


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

    # In a thread of its own: in this one the loop of a browser may run.
    with start_blocking_portal() as portal:
        portal.call(all_at_once)
    assert sorted(answered) == [*sorted(set(range(5)) - set(refused)), 9]
    assert len(refused) == 2
