"""Children are started again when they end, and none outlives us, however we end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from workers.fleet import ROOT, Fleet, Member, worker_member

PARENT = """
import sys, time
from workers.fleet import Fleet, Member
fleet = Fleet([Member("sleeper", ("sleep", "300"))])
fleet.start()
print(fleet._running["sleeper"].pid, flush=True)
time.sleep(300)
"""
# A child that has a child of its own in its session, and obeys no polite request.
STUBBORN = "trap '' TERM; sleep 300 & echo $! > {}; wait"


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


def _gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _runs(pid: int, name: str) -> bool:
    try:
        return bool(psutil.Process(pid).name() == name)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def fleets() -> Iterator[list[Fleet]]:
    """Collect fleets that are stopped at the end."""
    made: list[Fleet] = []
    yield made
    for fleet in made:
        fleet.stop()


def test_what_ends_is_started_again_within_five_seconds(fleets: list[Fleet]) -> None:
    fleet = Fleet([Member("one", ("sleep", "300")), Member("two", ("sleep", "300"))])
    fleets.append(fleet)
    fleet.start()
    first, second = (fleet._running[name].pid for name in ("one", "two"))
    os.kill(first, signal.SIGKILL)

    def back() -> bool:
        fleet.mend()
        process = fleet._running.get("one")
        return process is not None and process.pid != first and process.poll() is None

    assert _within(5, back)
    assert fleet._running["two"].pid == second
    assert _gone(first)


def test_what_cannot_run_does_not_spin(fleets: list[Fleet], tmp_path: Path) -> None:
    count = tmp_path / "count"
    fleet = Fleet([Member("broken", ("sh", "-c", f"echo x >> {count}; exit 3"))])
    fleets.append(fleet)
    fleet.start()
    assert _within(20, count.exists)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        fleet.mend()
        time.sleep(0.02)
    assert count.read_text() == "x\n"


def test_what_cannot_be_started_harms_no_other(
    fleets: list[Fleet], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("workers.fleet.tethered", lambda *command: list(command))
    monkeypatch.setattr("workers.fleet.RESTART_SECONDS", 1000.0)
    fleet = Fleet([Member("absent", ("/no/such/program",)), Member("one", ("sleep", "300"))])
    fleets.append(fleet)
    fleet.start()
    assert list(fleet._running) == ["one"]
    fleet.mend()
    assert caplog.text.count("absent cannot be started") == 1
    fleet._due["absent"] = time.monotonic()
    fleet.mend()
    assert caplog.text.count("absent cannot be started") == 2
    assert fleet._running["one"].poll() is None


def test_members_get_their_environment(fleets: list[Fleet], tmp_path: Path) -> None:
    written = tmp_path / "written"
    fleet = Fleet([Member("one", ("sh", "-c", f'echo "$PWD $GIVEN" > {written}; sleep 300'), {"GIVEN": "yes"})])
    fleets.append(fleet)
    fleet.start()
    assert _within(20, lambda: written.exists() and written.read_text() == f"{ROOT} yes\n")


def test_stop_ends_members_and_their_children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("workers.fleet.STOP_SECONDS", 0.3)
    written = tmp_path / "child"
    fleet = Fleet([Member("stubborn", ("sh", "-c", STUBBORN.format(written)))])
    fleet.start()
    assert _within(20, lambda: written.exists() and written.read_text().endswith("\n"))
    fleet.stop()
    assert _within(5, lambda: _gone(int(written.read_text())))


def test_children_die_with_a_killed_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _within(20, lambda: _runs(child, "sleep"))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _within(5, lambda: _gone(child))


def test_a_worker_serves_one_queue_with_one_child() -> None:
    member = worker_member("gpu0", queue="gpu", environment={"CUDA_VISIBLE_DEVICES": "0"})
    words = list(member.command)
    assert words[words.index("--queues") + 1] == "gpu"
    assert words[words.index("--concurrency") + 1] == "1"
    assert member.environment == {"CUDA_VISIBLE_DEVICES": "0", "TUNEUP_QUEUE": "gpu"}
