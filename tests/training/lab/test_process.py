"""The lab's process: it answers line by line, outlives a bad question, and ends with its input or when idle."""

import base64
import json
import subprocess
import sys
from typing import Any

from tests.support.sources import ROOT
from training.lab import __main__ as process

QUESTION = {"ask": "moving-average", "betas": [0.9], "correction": True, "format": "json"}


def line(number: str, **changes: Any) -> bytes:
    return json.dumps({"id": number, "question": QUESTION | changes}).encode()


def conversation(*lines: bytes) -> tuple[int, list[Any]]:
    """Start the process, send each line after the answer to the one before, close its input; return status and answers."""
    helper = subprocess.Popen(
        [sys.executable, "-m", "training.lab"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert helper.stdin is not None
    assert helper.stdout is not None
    answers = [json.loads(helper.stdout.readline())]
    for line in lines:
        helper.stdin.write(line + b"\n")
        helper.stdin.flush()
        answers.append(json.loads(helper.stdout.readline()))
    rest, _ = helper.communicate(timeout=60)
    assert rest == b""
    return helper.returncode, answers


def test_questions_are_answered_in_turn_and_a_bad_one_ends_nothing() -> None:
    status, (ready, bad, bare, strange, good) = conversation(b"no json", b"[1]", line("a", ask="x"), line("b"))
    assert ready == {"ready": True}
    assert bad["error"].startswith("JSONDecodeError")
    assert bare["error"].startswith("TypeError")
    assert strange["error"].startswith("KeyError")
    assert [answer["id"] for answer in (bad, bare, strange, good)] == [None, None, "a", "b"]
    assert json.loads(base64.b64decode(good["body"]))["curves"][0]["beta"] == 0.9
    assert status == 0


def test_it_ends_when_nothing_is_asked() -> None:
    script = "import training.lab.__main__ as lab; lab.IDLE_SECONDS = 0.1\nlab.main()"
    helper = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert helper.wait(timeout=120) == 0
    assert helper.stdout is not None
    assert json.loads(helper.stdout.read()) == {"ready": True}
    helper.communicate()


def test_replies_carry_bytes() -> None:
    body = process.reply(line("a", format="png"))["body"]
    assert body is not None
    assert base64.b64decode(body).startswith(b"\x89PNG")
