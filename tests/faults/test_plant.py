"""Crash points and bugs are planted from outside: in every process that the harness starts, and in no other."""

import importlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from models.session import Database
from models.tables import Table
from tests.faults.bugs import BUGS
from tests.faults.oracle import read
from tests.faults.patches import Patch, applied
from tests.faults.plant import POINTS, crash_points, planned, seeded, witnesses
from tests.faults.stand import SITE, Stand, child_environment, stand
from tests.support.ledger import definition
from tests.support.sources import ROOT
from workers.line import Line
from workers.outbox import Outbox

EVERY = [patch for bug in BUGS.values() for patch in bug.patches] + crash_points(print) + witnesses(print)

SPAWN = """
import billiard, runpy, sys
if __name__ == "__main__":
    child = billiard.get_context("spawn").Process(target=runpy.run_path, args=(sys.argv[1],))
    child.start()
    child.join()
"""
WHICH = "from models.session import Database; print(Database._run.__qualname__)"
WRITE = """
import sys
from models.session import Database
for turn in range(3):
    Database(sys.argv[1]).write(lambda connection: None)
    print("turn", turn, flush=True)
"""


class Stumbled(Exception):
    """This crash point was passed."""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Stand]:
    """Yield a sound stand on SQLite."""
    with stand(f"sqlite:///{tmp_path / 'tuneup.db'}", tmp_path, None) as made:
        yield made


def _python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=child_environment(**environment),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("patch", EVERY, ids=[f"{place}-{patch.target}" for place, patch in enumerate(EVERY)])
def test_what_is_patched_is_there(patch: Patch) -> None:
    module = importlib.import_module(patch.module)
    name = patch.target.partition(":")[2]
    before = _named(module, name)
    with applied([patch]):
        assert _named(module, name) is not before
    assert _named(module, name) is before


def _named(holder: object, path: str) -> object:
    for name in path.split("."):
        holder = getattr(holder, name)
    return holder


def test_a_process_without_the_variables_imports_nothing() -> None:
    done = _python("-c", "import sys; print([name for name in sys.modules if name.startswith(('tests', 'redis'))])")
    assert done.stdout.strip() == "[]"


def test_a_hidden_sitecustomize_is_run(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('mine')")
    done = _python("-c", "print('then')", PYTHONPATH=os.pathsep.join([str(SITE), str(tmp_path)]))
    assert done.stdout.split() == ["mine", "then"]
    assert done.stderr == ""


def test_an_unknown_bug_is_no_silent_success() -> None:
    done = _python("-c", "", TUNEUP_FAULTS_BUG="nothing")
    assert "KeyError: 'nothing'" in done.stderr


@pytest.mark.parametrize(
    ("environment", "found"),
    [({}, "Database._run"), ({"TUNEUP_FAULTS_SEED": "1"}, "crash_points.<locals>.writes.<locals>.ran")],
)
def test_spawned_children_are_planted_too(environment: dict[str, str], found: str, tmp_path: Path) -> None:
    """Celery's children are spawned by billiard."""
    (tmp_path / "spawn.py").write_text(SPAWN)
    (tmp_path / "which.py").write_text(WHICH)
    done = _python(str(tmp_path / "spawn.py"), str(tmp_path / "which.py"), **environment)
    assert done.stdout.strip() == found, done.stderr


def test_a_planned_crash_kills_and_leaves_a_note(tmp_path: Path) -> None:
    oracle = tmp_path / "oracle.jsonl"
    crash = "a write committed, not answered@2"
    done = _python(
        "-c", WRITE, f"sqlite:///{tmp_path / 'a.db'}", TUNEUP_FAULTS_CRASH=crash, TUNEUP_FAULTS_ORACLE=str(oracle)
    )
    assert (done.returncode, done.stdout) == (-9, "turn 0\n")
    assert [(line["event"], line["name"]) for line in read(oracle, "fault")] == [
        ("begin", "crash point: a write committed, not answered"),
        ("end", "crash point: a write committed, not answered"),
    ]


def test_a_seeded_process_stumbles_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("tests.faults.plant.time.sleep", waited.append)
    died: Counter[str] = Counter()
    stumble = seeded(7, die=lambda point: died.update([point]))
    for _ in range(1000):
        stumble("a trial claimed, not started")
    assert died.total() > 0
    assert waited
    assert died.total() + len(waited) < 100


def test_a_planned_crash_is_at_a_point_that_exists() -> None:
    with pytest.raises(KeyError):
        planned("nowhere", 1, die=print)


def _passed(place: Stand) -> list[str]:
    """Post a study and run a trial of it, and sweep; return the crash points that were passed, in order."""
    passed: list[str] = []
    with applied(crash_points(passed.append)), place.api() as caller:
        passed.clear()
        caller.post("/studies", definition(trials=1), key="a")
        passed.append("|")
        hand = place.hand("worker")
        hand.run(hand.claim(), 0.5)
        passed.append("|")
        place.watch().reaper._observe([])
    return passed


def test_crash_points_are_where_they_say(place: Stand) -> None:
    requests, writes, sweeps = " ".join(_passed(place)).split(" | ")
    assert requests == "a request worked, not committed a request committed, not answered"
    assert writes == " ".join(["a write worked, not committed a write committed, not answered"] * 3)
    assert sweeps.startswith("dead leases read, not taken back")


@pytest.mark.parametrize(("holder", "name"), [(Line, "start"), (Outbox, "finish")])
def test_a_supervisor_may_die_before_it_starts_or_finishes(holder: type, name: str) -> None:
    def stumble(point: str) -> None:
        raise Stumbled(point)

    with applied(crash_points(stumble)), pytest.raises(Stumbled):
        getattr(holder, name)(None, None)


def test_a_witness_sees_a_nudge_inside_a_transaction(tmp_path: Path) -> None:
    seen: list[tuple[str, bool]] = []
    with applied(witnesses(lambda _, **line: seen.append((line["queue"], line["visible"])))):
        queue = importlib.import_module("workers.queue")
        doorbell = queue.Doorbell(queue.make_app("memory://"))
        database = Database(f"sqlite:///{tmp_path / 'a.db'}")
        database.write(lambda _: doorbell.nudge(["cpu"]))
        database.dispose()
        doorbell.nudge(["gpu"])
        doorbell.close()
    assert seen == [("cpu", False), ("gpu", True)]


@pytest.mark.slow
@pytest.mark.parametrize("point", [point for point in POINTS if "request" in point or "nudged" in point])
def test_a_post_survives_a_crash_anywhere(point: str, tmp_path: Path) -> None:
    """Whichever side of the commit it died on, the same request again makes one study."""
    with stand(f"sqlite:///{tmp_path / 'tuneup.db'}", tmp_path, None) as place:
        with place.server(TUNEUP_FAULTS_CRASH=f"{point}@1") as server:
            assert server.caller.post("/studies", definition(), key="a") is None
        assert len(_studies(place)) == (0 if "not committed" in point else 1)
        with place.server() as server:
            assert server.caller.post("/studies", definition(), key="a")["state"] == "running"
        assert len(_studies(place)) == 1
        assert place.verdict() == []


def _studies(place: Stand) -> Sequence[object]:
    table = Table.metadata.tables["study"]
    return place.ledger.database.read(lambda connection: connection.execute(table.select()).all())
