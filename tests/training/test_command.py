"""The adaptor for users' commands over a real socket pair, with small programs as commands."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.training.supervisor import ROOT, Supervisor, of_type
from training.protocol import REASON_CHARACTERS

Message = dict[str, Any]
Write = Callable[..., Message]

HEAD = """
import json, os, signal, sys, time
def say(**message): print(json.dumps(message), flush=True)
def hear(): return json.loads(sys.stdin.readline())
"""
MEASURE = "say(step=1, values={'loss': 0.5})\n"


@pytest.fixture(scope="module")
def adaptor() -> Iterator[Supervisor]:
    supervisor = Supervisor("training.command")
    assert supervisor.receive() == {"type": "ready", "pid": supervisor.process.pid}
    yield supervisor
    supervisor.close()


@pytest.fixture
def fresh() -> Iterator[Supervisor]:
    supervisor = Supervisor("training.command")
    assert supervisor.receive()["type"] == "ready"
    yield supervisor
    supervisor.close()


@pytest.fixture
def objective(tmp_path: Path) -> Write:
    """Return a function from the text of a program to the objective that runs it in `tmp_path`."""

    def write(program: str, **more: Any) -> Message:
        (tmp_path / "train.py").write_text(HEAD + textwrap.dedent(program))
        return {"command": [sys.executable, "train.py"], "folder": str(tmp_path)} | more

    return write


def run(adaptor: Supervisor, goal: Message, params: Message | None = None, **more: Any) -> list[Message]:
    adaptor.start("abc-4", goal, params or {}, **more)
    return adaptor.receive_until("done")


def gone(pid: int) -> bool:
    """Wait for the end of a process that is not ours."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_what_it_says_is_relayed(adaptor: Supervisor, objective: Write) -> None:
    program = """
        print("no JSON", flush=True)
        print(json.dumps({"step": 1, "note": "not for you"}), flush=True)
        say(step=1, values={"loss": 0.5, "count": 3})
        say(step=2, values={"loss": 0.25})
        say(step=2, values={"loss": 0.25})
        sys.stdout.buffer.write(b"\\xff\\xfe broken\\n[[[[\\n")
        sys.stdout.write('{"step": 3, "values": {"loss": 0.125}}')
    """
    seen = run(adaptor, objective(program))
    assert [(message["step"], message["values"]) for message in of_type(seen, "measurement")] == [
        (1, {"loss": 0.5, "count": 3.0}),
        (2, {"loss": 0.25}),
        (2, {"loss": 0.25}),
        (3, {"loss": 0.125}),
    ]
    assert seen[-1] == {"type": "done", "trial": "abc-4", "outcome": "completed", "reason": None, "error": None}


def test_it_is_told_all_it_needs_and_nothing_else(adaptor: Supervisor, objective: Write, tmp_path: Path) -> None:
    program = """
        told = {"line": hear(), "environment": dict(os.environ), "folder": os.getcwd(), "group": os.getpgrp(),
                "ignored": [str(n) for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN],
                "open": sorted(int(name) for name in os.listdir("/proc/self/fd"))}
        open("told.json", "w").write(json.dumps(told))
        say(step=1, values={"loss": 0.5})
    """
    goal = objective(program, environment={"DATA": "/data"}, options={"layers": 3, "name": "x"})
    params = {"lr": 0.1, "units": 8, "kind": "tree"}
    assert run(adaptor, goal, params, attempt=2, seed=2**62)[-1]["outcome"] == "completed"
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["line"] == {
        "study": "abc",
        "trial": "abc-4",
        "number": 4,
        "attempt": 2,
        "params": params,
        "options": {"layers": 3, "name": "x"},
        "seed": 2**62,
        "checkpoint": None,
        "resume": None,
    }
    environment = told["environment"]
    assert json.loads(environment.pop("TUNEUP_PARAMS")) == params
    assert environment.pop("DATA") == "/data"
    # The adaptor's own, but for the way to our modules; LC_CTYPE is what Python adds to its own environment.
    assert set(environment) - {"LC_CTYPE"} <= {"PATH", "HOME", "OMP_NUM_THREADS"}
    assert told["folder"] == str(tmp_path)
    assert told["group"] == adaptor.process.pid
    # Python's own two, and what was ignored when the tests began; its streams, and the folder that it lists.
    assert set(told["ignored"]) <= {str(n) for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN}
    assert told["open"] == [0, 1, 2, 3]


def test_a_folder_of_any_names_is_a_folder(adaptor: Supervisor, objective: Write, tmp_path: Path) -> None:
    """What lies in the folder is the command's: nothing of ours is taken from it, nor of its from ours."""
    for name in ("ctypes", "training", "signal", "os"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    goal = objective("", command=["sh", "-c", 'cat > /dev/null & echo \'{"step": 1, "values": {"loss": 1}}\''])
    assert run(adaptor, goal)[-1]["outcome"] == "completed"


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999"])
def test_a_value_that_is_no_number_ends_it(adaptor: Supervisor, objective: Write, tmp_path: Path, value: str) -> None:
    program = f"""
        open("pid", "w").write(str(os.getpid()))
        say(step=2, values={{"val_loss": 0.5}})
        print('{{"step": 3, "values": {{"val_loss": {value}}}}}', flush=True)
        time.sleep(600)
    """
    seen = run(adaptor, objective(program))
    assert [message["step"] for message in of_type(seen, "measurement")] == [2]
    assert seen[-1]["outcome"] == "diverged"
    assert seen[-1]["reason"] == f"val_loss is {float(value)} at step 3"
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("program", "outcome", "reason"),
    [
        ("say(outcome='diverged', reason='loss exploded')", "diverged", "loss exploded"),
        ("say(outcome='diverged'); sys.exit(1)", "diverged", None),
        (MEASURE + "say(outcome='failed', reason='no data')", "failed", "no data"),
        (MEASURE + "say(outcome='completed')", "completed", None),
        ("", "failed", "the command reported no measurement; it must write lines such as"),
        ("print('loss 0.3')", "failed", "the command reported no measurement"),
        (MEASURE + "raise ValueError('bad data')", "failed", "the command exited with status 1: ValueError: bad data"),
        (MEASURE + "sys.exit(3)", "failed", "the command exited with status 3"),
        ("say(values={'loss': 1}); time.sleep(600)", "failed", "measurement: step is missing"),
        (MEASURE + "say(step=1, values={'loss': 0.6})", "failed", "step 1 was measured twice, with other values"),
        (
            "print('x' * 2**20, flush=True); time.sleep(600)",
            "failed",
            "a line on standard output is over 1048576 bytes",
        ),
        ("say(outcome='lost'); time.sleep(600)", "failed", "outcome must be one of completed, diverged, failed"),
    ],
)
def test_how_it_ends(adaptor: Supervisor, objective: Write, program: str, outcome: str, reason: str | None) -> None:
    done = run(adaptor, objective(program))[-1]
    assert done["outcome"] == outcome
    assert (done["reason"] or "").startswith(reason or "")
    assert bool(done["reason"]) == bool(reason)


def test_an_error_is_told_by_its_end(adaptor: Supervisor, objective: Write) -> None:
    done = run(
        adaptor, objective("sys.stderr.write('x' * 300_000); sys.stderr.write('y' * 500 + chr(10)); sys.exit(1)")
    )[-1]
    assert len(done["error"]) == 64 * 1024
    assert done["error"].endswith("xy" + "y" * 499 + "\n")
    assert len(done["reason"]) == 200


@pytest.mark.parametrize(
    "broken",
    [
        {"command": ["no-such-program"]},
        {"folder": "/no/such/folder"},
        {"command": ["/etc/passwd"]},
        {"command": ["a\0b"]},
    ],
)
def test_what_cannot_be_started_is_the_hosts_fault(adaptor: Supervisor, objective: Write, broken: Message) -> None:
    done = run(adaptor, objective(MEASURE) | broken)[-1]
    assert (done["outcome"], done["reason"]) == ("failed", "device")
    assert "cannot be started" in done["error"]


@pytest.mark.parametrize("broken", [{"command": []}, {"command": "ls -l"}, {"command": None}, {"options": 5}])
def test_an_objective_that_is_no_command_is_refused(adaptor: Supervisor, objective: Write, broken: Message) -> None:
    done = run(adaptor, objective(MEASURE) | broken)[-1]
    assert done["outcome"] == "failed"
    assert done["reason"].startswith("the objective is no command")


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 139),
        ("sys.exit(137)", 137),
        ("sys.exit(139)", 139),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143),
    ],
)
def test_a_death_is_the_adaptors(fresh: Supervisor, objective: Write, program: str, status: int) -> None:
    fresh.start("abc-4", objective(MEASURE + "sys.stderr.write('last words\\n'); sys.stderr.flush()\n" + program), {})
    assert fresh.receive()["type"] == "measurement"
    assert fresh.process.wait(20) == status
    assert fresh.socket.recv(1) == b""
    assert "last words" in fresh.errors()


STUBBORN = """
    child = os.fork()
    if child == 0:
        time.sleep(600)
    open("pids", "w").write(f"{os.getpid()} {child}")
    say(step=1, values={"loss": 0.5})
"""


def pids(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def test_what_it_leaves_behind_is_ended(adaptor: Supervisor, objective: Write, tmp_path: Path) -> None:
    """A child that holds its standard output open would else keep the trial running for ever."""
    assert run(adaptor, objective(STUBBORN))[-1]["outcome"] == "completed"
    assert all(gone(pid) for pid in pids(tmp_path))


def test_it_dies_with_a_killed_adaptor(fresh: Supervisor, objective: Write, tmp_path: Path) -> None:
    fresh.start("abc-4", objective(STUBBORN + "    time.sleep(600)"), {})
    assert fresh.receive()["type"] == "measurement"
    fresh.process.kill()
    command, child = pids(tmp_path)
    assert gone(command)
    os.kill(child, signal.SIGKILL)


def test_it_dies_with_the_adaptors_group(fresh: Supervisor, objective: Write, tmp_path: Path) -> None:
    fresh.start("abc-4", objective(STUBBORN + "    time.sleep(600)"), {})
    assert fresh.receive()["type"] == "measurement"
    fresh.kill()
    assert all(gone(pid) for pid in pids(tmp_path))


def test_it_dies_with_a_supervisor_that_hangs_up(fresh: Supervisor, objective: Write, tmp_path: Path) -> None:
    fresh.start("abc-4", objective(STUBBORN + "    time.sleep(600)"), {})
    assert fresh.receive()["type"] == "measurement"
    assert fresh.hang_up() == 0
    command, child = pids(tmp_path)
    assert gone(command)
    os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("then", ["", "sys.exit(1)", "os.kill(os.getpid(), 9)", "say(step=2, values={'a': 1e999})"])
def test_a_stop_is_heard_and_any_end_after_it_is_stopped(
    adaptor: Supervisor, objective: Write, tmp_path: Path, then: str, checkpoint: bool
) -> None:
    program = "hear()\n" + MEASURE + "open('heard.json', 'w').write(json.dumps(hear()))\n" + then
    adaptor.start("abc-4", objective(program), {})
    assert adaptor.receive()["type"] == "measurement"
    adaptor.stop("another-1")
    adaptor.stop("abc-4", checkpoint=checkpoint)
    done = adaptor.receive_until("done")[-1]
    assert (done["outcome"], done["reason"], done["error"]) == ("stopped", "cancelled", None)
    heard = json.loads((tmp_path / "heard.json").read_text())
    assert heard == {"stop": True, "reason": "cancelled"} | ({"checkpoint": True} if checkpoint else {})


def test_one_that_hangs_and_will_not_stop_is_killed_with_the_group(
    fresh: Supervisor, objective: Write, tmp_path: Path
) -> None:
    fresh.start("abc-4", objective(STUBBORN + "    signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"), {})
    assert fresh.receive()["type"] == "measurement"
    fresh.stop("abc-4")
    fresh.socket.settimeout(1)
    with pytest.raises(TimeoutError):
        fresh.socket.recv(1)
    fresh.kill()
    assert all(gone(pid) for pid in pids(tmp_path))


def test_verdicts_are_handed_on_where_the_study_prunes(adaptor: Supervisor, objective: Write, tmp_path: Path) -> None:
    program = """
        hear()
        heard = []
        for step in (1, 2):
            say(step=step, values={"loss": 0.5})
            heard.append(hear())
        open("heard.json", "w").write(json.dumps(heard))
    """
    adaptor.start("abc-4", objective(program), {}, wait=True)
    for step in (1, 2):
        assert adaptor.receive()["step"] == step
        stop = step == 2
        adaptor.send(
            {"type": "verdict", "trial": "abc-4", "step": step, "stop": stop, "reason": "rung" if stop else None}
        )
    done = adaptor.receive_until("done")[-1]
    assert (done["outcome"], done["reason"]) == ("stopped", "rung")
    assert json.loads((tmp_path / "heard.json").read_text()) == [
        {"step": 1, "stop": False},
        {"step": 2, "stop": True, "reason": "rung"},
    ]


def test_one_that_does_not_listen_hinders_nobody(adaptor: Supervisor, objective: Write) -> None:
    """Its first line alone is more than a pipe holds."""
    goal = objective(MEASURE + "sys.stdin.close()\n" + MEASURE, options={"text": "x" * 300_000})
    assert run(adaptor, goal)[-1]["outcome"] == "completed"


def test_log_lines_are_signs_of_life_but_few(adaptor: Supervisor, objective: Write) -> None:
    program = """
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            print("working", flush=True)
            time.sleep(0.05)
        say(step=1, values={"loss": 0.5})
    """
    assert [message["type"] for message in run(adaptor, objective(program))] == ["alive", "measurement", "done"]


def test_checkpoints_are_hashed_and_offered_to_the_next_attempt(
    adaptor: Supervisor, objective: Write, tmp_path: Path
) -> None:
    program = """
        told = hear()
        resume = told["resume"]
        begin = int(open(resume["path"]).read()) if resume else 0
        for step in range(begin + 1, begin + 3):
            say(step=step, values={"loss": 1 / step})
            path = f"{told['checkpoint']}/{told['attempt']}-{step}-model.pt"
            open(path, "w").write(str(step))
            say(checkpoint=path, step=step)
    """
    kept = tmp_path / "kept" / "abc-4"
    given = {"folder": str(kept), "seconds": 30, "resume": []}
    seen = run(adaptor, objective(program), checkpoints=given)
    saved = of_type(seen, "checkpoint")
    assert [message["type"] for message in seen[-5:]] == ["measurement", "checkpoint"] * 2 + ["done"]
    assert saved[-1] == {
        "type": "checkpoint",
        "trial": "abc-4",
        "step": 2,
        "path": str(kept / "1-2-model.pt"),
        "sha256": hashlib.sha256(b"2").hexdigest(),
        "bytes": 1,
    }
    resume = [{name: message[name] for name in ("path", "sha256", "step")} for message in reversed(saved)]
    for torn, went_on_from in ((None, 2), ("1-2-model.pt", 1), ("1-1-model.pt", None)):
        if torn:
            (kept / torn).write_text("torn")
        seen = run(adaptor, objective(program), attempt=2, checkpoints=given | {"resume": resume})
        assert [message["step"] for message in of_type(seen, "resumed")] == ([went_on_from] if went_on_from else [])
        assert seen[0]["type"] == ("resumed" if went_on_from else "measurement")
        assert of_type(seen, "measurement")[0]["step"] == (went_on_from or 0) + 1


def test_one_that_begins_anew_did_not_go_on(adaptor: Supervisor, objective: Write, tmp_path: Path) -> None:
    (tmp_path / "1-3-x.pt").write_text("state")
    resume = [{"path": str(tmp_path / "1-3-x.pt"), "sha256": hashlib.sha256(b"state").hexdigest(), "step": 3}]
    given = {"folder": str(tmp_path), "seconds": 30, "resume": resume}
    seen = run(
        adaptor, objective("".join(f"say(step={step}, values={{'a': 1}})\n" for step in range(1, 6))), checkpoints=given
    )
    assert [message["type"] for message in seen] == ["measurement"] * 5 + ["done"]


@pytest.mark.parametrize("path", ["/etc/passwd", "{folder}", "{folder}/../train.py", "{folder}/pipe"])
def test_a_checkpoint_from_elsewhere_is_refused(
    adaptor: Supervisor, objective: Write, tmp_path: Path, path: str
) -> None:
    kept = tmp_path / "kept"
    named = path.format(folder=kept)
    program = f"os.mkfifo('{kept}/pipe'); say(checkpoint={named!r}, step=1); time.sleep(600)"
    done = run(adaptor, objective(program), checkpoints={"folder": str(kept), "seconds": 30, "resume": []})[-1]
    assert done["outcome"] == "failed"
    assert "is no file in the folder that was given" in done["reason"]


def test_a_checkpoint_that_was_removed_for_a_newer_one_is_passed_over(
    adaptor: Supervisor, objective: Write, tmp_path: Path
) -> None:
    program = """
        folder = hear()["checkpoint"]
        for step in range(1, 4):
            open(f"{folder}/1-{step}.pt", "w").write(str(step))
        os.remove(f"{folder}/1-1.pt")
        for step in range(1, 4):
            say(step=step, values={"loss": 1 / step})
            say(checkpoint=f"{folder}/1-{step}.pt", step=step)
    """
    given = {"folder": str(tmp_path / "kept"), "seconds": 30, "resume": []}
    seen = run(adaptor, objective(program), checkpoints=given)
    assert [message["step"] for message in of_type(seen, "checkpoint")] == [2, 3]
    assert (seen[-1]["outcome"], seen[-1]["reason"]) == ("completed", None)


@pytest.mark.parametrize("name", ["wrong.pt", "loop", "x" * 300])
def test_one_that_never_had_a_checkpoint_says_so(
    adaptor: Supervisor, objective: Write, tmp_path: Path, name: str
) -> None:
    wrong = tmp_path / "kept" / name
    loop = str(wrong.parent / "loop")
    program = MEASURE + f"os.symlink({loop!r}, {loop!r}); say(checkpoint={str(wrong)!r}, step=1)"
    done = run(adaptor, objective(program), checkpoints={"folder": str(wrong.parent), "seconds": 30, "resume": []})[-1]
    assert done["outcome"] == "completed"
    said = f"this attempt kept no checkpoint; the first that was named could not be read: {wrong}"
    assert done["reason"] == said[:REASON_CHARACTERS]


def test_without_a_folder_checkpoints_are_not_ours(adaptor: Supervisor, objective: Write) -> None:
    seen = run(adaptor, objective(MEASURE + "say(checkpoint='/etc/passwd', step=1)"))
    assert [message["type"] for message in seen] == ["measurement", "done"]


def test_it_loads_nothing_heavy() -> None:
    script = "import sys, training.command; print({'torch', 'numpy', 'sklearn'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"
