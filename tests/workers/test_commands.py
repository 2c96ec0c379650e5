"""The two commands that keep workers running: what they refuse at the start, and how they end."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from workers import __main__ as worker
from workers import embedded
from workers.fleet import Fleet, Member


class Watched(Fleet):
    """A fleet without members; each kind counts how often one of it was stopped."""

    stopped: ClassVar[int]

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__([])

    def stop(self) -> None:
        type(self).stopped += 1
        super().stop()


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put the signal handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("url", ["kafka://:secret@host", "nonsense"])
def test_a_worker_refuses_a_broker_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    monkeypatch.setenv("TUNEUP_BROKER_URL", url)
    assert worker.main(["--queue", "cpu"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tuneup worker: the broker's URL must begin with one of redis://")
    assert said.count("\n") == 1
    assert "secret" not in said


def test_a_worker_says_what_an_empty_database_wants(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sqlite_url: str
) -> None:
    monkeypatch.setenv("TUNEUP_DATABASE_URL", sqlite_url)
    assert worker.main(["--queue", "cpu"]) == 1
    assert "tuneup migrate" in capsys.readouterr().err


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("program", "name", "words"), [(worker, "worker", ["--queue", "cpu"]), (embedded, "serve", [])]
)
def test_a_bad_file_of_objectives_is_said_in_a_line_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    program: Any,
    name: str,
    words: list[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.chdir(tmp_path)
    # `serve` sets them for its children: put back afterwards.
    for variable in ("TUNEUP_DATABASE_URL", "TUNEUP_BROKER_URL"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setattr("subprocess.Popen", fail)
    (tmp_path / "tuneup.toml").write_text('[objectives.mine]\ncommand = "train.py"\n')
    assert program.main(words) == 2
    assert capsys.readouterr().err == (
        f"tuneup {name}: {tmp_path.resolve() / 'tuneup.toml'}: [objectives.mine] "
        'command must be a list of strings, such as ["python", "train.py"]\n'
    )


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_its_fleet_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    class Told(Watched):
        stopped = 0

        def mend(self) -> None:
            os.kill(os.getpid(), number)

    monkeypatch.setattr("workers.__main__.Fleet", Told)
    monkeypatch.setattr("workers.__main__.LOOK_SECONDS", 0.01)
    monkeypatch.delenv("TUNEUP_BROKER_URL", raising=False)
    monkeypatch.setattr("workers.__main__.database_fault", lambda _: None)
    assert worker.main(["--queue", "cpu"]) == 0
    assert Told.stopped == 1


@pytest.mark.usefixtures("handlers")
@pytest.mark.timeout(20)
def test_a_signal_inside_the_wait_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it waits with: the handler runs while the interrupted thread holds that one's lock."""

    class Quiet(Watched):
        stopped = 0

    monkeypatch.setattr("time.sleep", _interrupted(time.sleep))
    monkeypatch.setattr("threading.Condition.wait", _interrupted(threading.Condition.wait))
    monkeypatch.setattr("workers.__main__.Fleet", Quiet)
    monkeypatch.delenv("TUNEUP_BROKER_URL", raising=False)
    monkeypatch.setattr("workers.__main__.database_fault", lambda _: None)
    assert worker.main(["--queue", "cpu"]) == 0
    assert Quiet.stopped == 1


def _interrupted(wait: Callable[..., Any]) -> Callable[..., Any]:
    def waits(*arguments: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            os.kill(os.getpid(), signal.SIGTERM)
            return False
        return wait(*arguments)

    return waits


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("verb", ["start", "mend"])
def test_a_service_without_its_fleet_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, verb: str
) -> None:
    class Broken(Watched):
        stopped = 0

    def fail(_: Fleet) -> None:
        raise RuntimeError("no more")

    setattr(Broken, verb, fail)
    monkeypatch.setattr("workers.embedded.uvicorn.run", lambda *_, **__: time.sleep(5))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with pytest.raises(SystemExit) as ended:
        embedded._serve(Broken(), 0)
    assert ended.value.code == 1
    assert Broken.stopped == 1
    assert "can no longer be kept running" in caplog.text
    assert "no more" in caplog.text


@pytest.mark.usefixtures("handlers")
def test_members_use_the_file_beside_which_they_were_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Told(Watched):
        stopped = 0
        given: ClassVar[list[Member]] = []

        def __init__(self, members: Sequence[Member] = (), **_: object) -> None:
            super().__init__()
            Told.given = list(members)

        def mend(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNEUP_BROKER_URL", raising=False)
    for name in ("DATABASE_URL", "OBJECTIVES", "CHECKPOINTS", "DATA"):
        monkeypatch.delenv(f"TUNEUP_{name}", raising=False)
    (tmp_path / "tuneup.toml").write_text("")
    monkeypatch.setattr("workers.__main__.database_fault", lambda _: None)
    monkeypatch.setattr("workers.__main__.Fleet", Told)
    monkeypatch.setattr("workers.__main__.LOOK_SECONDS", 0.01)
    assert worker.main(["--queue", "cpu"]) == 0
    places = [
        {
            name: place
            for name, place in member.environment.items()
            if name.endswith(("URL", "OBJECTIVES", "CHECKPOINTS", "DATA"))
        }
        for member in Told.given
    ]
    assert places == [
        {
            "TUNEUP_DATABASE_URL": f"sqlite:///{tmp_path.resolve() / 'tuneup.db'}",
            "TUNEUP_OBJECTIVES": str(tmp_path.resolve() / "tuneup.toml"),
            "TUNEUP_CHECKPOINTS": str(tmp_path.resolve() / ".tuneup" / "checkpoints"),
            "TUNEUP_DATA": str(tmp_path.resolve() / ".tuneup" / "datasets"),
        }
    ]
