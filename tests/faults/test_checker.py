"""The checker finds every kind of violation, planted by hand into what was clean, and nothing where all is well."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import violations
from tests.faults.ledger_rules import ALWAYS, SETTLED
from tests.faults.oracle import read
from tests.faults.promise_rules import PROMISES
from tests.faults.stand import Caller, Stand, stand
from tests.faults.training_rules import TRAINING
from tests.support.ledger import definition

EXTERNAL = {"external": True}
_STUDY = "(SELECT id FROM study WHERE name = '?')"
_SHORT = {"@first": "study_id = @random AND number = 0"}


@dataclass(slots=True)
class Evidence:
    """A database and an oracle in which all is well, to be tampered with."""

    folder: Path

    @property
    def oracle(self) -> Path:
        """The file of lines."""
        return self.folder / "oracle.jsonl"

    def verdict(self, *, settled: bool = True) -> list[str]:
        """Ask the checker."""
        return violations(f"sqlite:///{self.folder / 'tuneup.db'}", self.oracle, settled=settled)

    def sql(self, statement: str, *given: object) -> None:
        """Change rows, past every constraint that can be passed. `@name` is the id of the study of that name."""
        for short, long in _SHORT.items():
            statement = statement.replace(short, long)
        for name in ("random", "grid", "external", "cancelled"):
            statement = statement.replace(f"@{name}", _STUDY.replace("?", name))
        connection = sqlite3.connect(self.folder / "tuneup.db")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        assert connection.execute(statement, given).rowcount != 0, f"nothing to change: {statement}"
        connection.commit()
        connection.close()

    def lines(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return the oracle's lines with these fields."""
        return [line for line in read(self.oracle) if wanted.items() <= line.items()]

    def say(self, *lines: dict[str, Any]) -> None:
        """Append lines to the oracle."""
        with self.oracle.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Play a history with a bit of everything, in order; yield the folder with its database and its oracle."""
    folder: Path = tmp_path_factory.mktemp("played")
    made = folder / "made"
    made.mkdir()
    with stand(f"sqlite:///{made / 'tuneup.db'}", made, None) as place, place.api() as caller:
        _play(place, caller)
        return shutil.copytree(made, folder / "kept")


def _play(place: Stand, caller: Caller) -> None:
    hand = place.hand("worker")
    for name, strategy, more in (("random", "random", {"trials": 3}), ("grid", "grid", {"trials": 6})):
        space = "discrete" if name == "grid" else "continuous"
        caller.post("/studies", definition(strategy, space=space, name=name, **more), key=name)
        if name == "random":
            hand.worker.release([hand.claim()], reason="released")
        while hand.look():
            hand.run(hand.last, 0.5 + hand.last.number)
    caller.post("/studies", definition(name="random", trials=3), key="random")
    external = caller.post("/studies", definition(name="external", trials=2, objective=EXTERNAL), key="external")["id"]
    for number in (0, 1):
        (trial,) = caller.post(f"/studies/{external}/trials:ask", {"client_id": "me"})["data"]
        measured = {"token": trial["token"], "measurements": [{"step": 1, "values": {"val_loss": 0.7 + number}}]}
        caller.post(f"/trials/{trial['id']}/measurements", measured)
        caller.post(f"/trials/{trial['id']}:tell", {"token": trial["token"], "values": {"val_loss": 0.6 + number}})
    cancelled = caller.post("/studies", definition(name="cancelled"), key="cancelled")["id"]
    hand.worker.release([hand.claim()], reason="released")
    caller.post(f"/studies/{cancelled}:cancel")
    deleted = caller.post("/studies", definition(name="deleted"), key="deleted")["id"]
    caller.post(f"/studies/{deleted}:cancel")
    caller.call("DELETE", f"/studies/{deleted}")


@pytest.fixture
def evidence(played: Path, tmp_path: Path) -> Evidence:
    """Return a copy of the history, to be spoilt."""
    return Evidence(shutil.copytree(played, tmp_path / "copy"))


def test_a_clean_history_breaks_no_promise(evidence: Evidence) -> None:
    assert evidence.verdict() == []


def test_an_empty_history_says_nothing_of_a_clean_database(evidence: Evidence) -> None:
    """What was not seen to be promised cannot be missed; that nobody saw it made is a violation."""
    evidence.oracle.unlink()
    assert {said.partition(":")[0] for said in evidence.verdict()} == {"no invention"}


def _rows(statement: str, *given: object) -> Callable[[Evidence], None]:
    return lambda evidence: evidence.sql(statement, *given)


def _values(name: str, value: str, score: float | None) -> Callable[[Evidence], None]:
    """Give the first trial of a study another value."""
    text = f'{{"val_loss": {value}}}'
    statement = 'UPDATE trial SET "values" = ?, score = ? WHERE study_id = @name AND number = 0'
    return _rows(statement.replace("@name", f"@{name}"), text, score)


def _reply(evidence: Evidence, of: dict[str, Any], **changes: Any) -> None:
    """Repeat an exchange of the oracle with something changed in its reply."""
    (request,) = evidence.lines(event="request", id=of["id"])
    (reply,) = evidence.lines(event="reply", id=of["id"])
    evidence.say({**request, "id": "again"}, {**reply, "id": "again", **changes})


def _lost_study(evidence: Evidence) -> None:
    created = evidence.lines(event="reply", key="random")[0]
    _reply(evidence, created, key="another", reply={**created["reply"], "id": "0" * 13})


def _undeleted(evidence: Evidence) -> None:
    (deleted,) = evidence.lines(event="request", method="DELETE")
    path = evidence.lines(event="reply", key="cancelled")[0]["reply"]["id"]
    said = {**deleted, "id": "again", "path": f"/v1/studies/{path}"}
    evidence.say(said, {**said, "event": "reply", "status": 204, "reply": None})


def _two_replies(evidence: Evidence) -> None:
    created = evidence.lines(event="reply", key="random")[0]
    _reply(evidence, created, reply={**created["reply"], "name": "another"})


def _open_key(evidence: Evidence) -> None:
    evidence.sql("UPDATE idempotency_key SET status = NULL WHERE key = 'grid'")


def _zombie_over_http(evidence: Evidence) -> None:
    """Let another attempt be handed out before the first one's measurement came."""
    asked = next(line for line in evidence.lines(event="reply") if line["path"].endswith("trials:ask"))
    (trial,) = asked["reply"]["data"]
    _reply(evidence, asked, reply={**asked["reply"], "data": [{**trial, "attempt": 2, "token": "f" * 32}]})


def _two_processes(evidence: Evidence) -> None:
    evidence.say({**evidence.lines(event="start")[0], "pid": 1})


def _robbed(evidence: Evidence) -> None:
    """Make of the attempt that was given back one that was lost while it went on training."""
    start = evidence.lines(kind="train", event="start")[0]
    assert start["attempt"] == 1
    evidence.sql("UPDATE attempt SET state = 'lost', reason = 'infrastructure' WHERE attempt = 1 AND @first")
    evidence.say({**start, "event": "end", "at": start["at"] + 3600})


def _early_nudge(evidence: Evidence) -> None:
    evidence.say({"kind": "nudge", "event": "sent", "queue": "cpu", "visible": False, "at": 0.0})


def _torn_row(evidence: Evidence) -> None:
    path = evidence.folder / "1-1-1.pt"
    path.write_bytes(b"half")
    statement = "INSERT INTO checkpoint VALUES (@random, 0, 1, 1, ?, ?, 8, NULL, '2026-01-01 00:00:00')"
    evidence.sql(statement, str(path), "0" * 64)


def _torn_file(evidence: Evidence) -> None:
    path = evidence.folder / "1-1-1.pt"
    path.write_bytes(b"half")
    evidence.say({"kind": "checkpoint", "path": str(path), "sha256": "0" * 64, "at": 0.0})


# The promise, and what breaks it.
CASES: Sequence[tuple[str, Callable[[Evidence], None]]] = [
    ("numbers and budget", _rows("UPDATE study SET allocated = 2 WHERE name = 'random'")),
    ("numbers and budget", _rows("UPDATE study SET finished = 2 WHERE name = 'random'")),
    ("numbers and budget", _rows("UPDATE trial SET seq = 1000 WHERE @first")),
    ("attempts and leases", _rows("DELETE FROM attempt WHERE attempt = 1 AND @first")),
    (
        "attempts and leases",
        _rows("INSERT INTO lease (study_id, number, attempt, token, worker, beat) VALUES (@random, 0, 2, 't', 'w', 0)"),
    ),
    ("the log leads to the tables", _rows("UPDATE trial SET state = 'diverged' WHERE @first")),
    ("the log leads to the tables", _rows("DELETE FROM event WHERE seq = 3 AND study_id = @random")),
    ("values only where they belong", _rows("UPDATE trial SET state = 'cancelled' WHERE @first")),
    ("only finite numbers", _values("random", "NaN", None)),
    ("only finite numbers", _values("random", '"NaN"', None)),
    ("only finite numbers", _rows("UPDATE trial SET score = -9e999 WHERE @first")),
    ("only finite numbers", _rows("""UPDATE trial SET params = '{"lr": Infinity}' WHERE @first""")),
    ("only finite numbers", _rows("""UPDATE measurement SET "values" = '{"val_loss": NaN}' WHERE @first""")),
    ("attempts as the log says", _rows("UPDATE attempt SET reason = 'other' WHERE attempt = 1 AND @first")),
    ("attempts as the log says", _rows("UPDATE event SET attempt = 9 WHERE seq = 3 AND study_id = @random")),
    ("retries are bounded", _rows("UPDATE attempt SET state = 'lost', reason = 'user_error: x' WHERE @first")),
    ("one token for one attempt", _rows("UPDATE attempt SET token = 'same' WHERE @first")),
    ("each grid point once", _rows("UPDATE trial SET grid_index = NULL WHERE grid_index = 3")),
    ("each grid point once", _rows("UPDATE trial SET grid_index = 6 WHERE grid_index = 3")),
    ("the budget exactly", _rows("UPDATE study SET budget = 4 WHERE name = 'random'")),
    (
        "one pruning decision",
        _rows(
            "INSERT INTO rung (study_id, number, step, score, stop, reason) VALUES (@random, 0, 1, 0.5, 1, 'behind')"
        ),
    ),
    ("ranked by its own values", _rows("UPDATE trial SET score = 0.25 WHERE @first")),
    ("no torn checkpoint", _torn_row),
    ("no torn checkpoint", _torn_file),
    ("nothing waits in what has ended", _rows("UPDATE trial SET state = 'queued' WHERE @first")),
    ("everything ends", _rows("UPDATE study SET state = 'running' WHERE name = 'random'")),
    ("everything ends", _rows("UPDATE trial SET state = 'running' WHERE @first")),
    ("an acknowledged study is there", _lost_study),
    ("a deleted study is gone", _undeleted),
    ("one reply for one key", _two_replies),
    ("one reply for one key", _open_key),
    ("one study for one key", _rows("UPDATE study SET name = 'random' WHERE name = 'grid'")),
    ("an acknowledged result stands", _values("external", "0.7", 0.7)),
    ("an acknowledged result stands", _rows("UPDATE trial SET state = 'failed' WHERE study_id = @external")),
    ("an acknowledged measurement stands", _rows("DELETE FROM measurement WHERE study_id = @external")),
    (
        "an acknowledged measurement stands",
        _rows("""UPDATE measurement SET "values" = '{"val_loss": 0.6}' WHERE study_id = @external"""),
    ),
    ("no invention", _values("random", "0.123", 0.123)),
    ("no invention", _values("random", "1.5", 1.5)),
    ("no invention", _rows("""UPDATE measurement SET "values" = '{"val_loss": 0.1}' WHERE study_id = @random""")),
    ("cancelled stays cancelled", _rows("UPDATE study SET state = 'completed' WHERE name = 'cancelled'")),
    (
        "cancelled stays cancelled",
        _rows("INSERT INTO event VALUES (@cancelled, 99, 1, 1, NULL, 'running', NULL, '2026-01-01 00:00:00')"),
    ),
    ("what is handed out is written down", _rows("UPDATE attempt SET token = number WHERE study_id = @external")),
    ("a stale token changes nothing", _zombie_over_http),
    ("one process for one attempt", _two_processes),
    ("a living worker keeps its trial", _robbed),
    ("a nudge leaves after the commit", _early_nudge),
    ("no more at a time than allowed", _rows("UPDATE study SET parallelism = 0 WHERE name = 'grid'")),
]


@pytest.mark.parametrize(("promise", "spoil"), CASES, ids=[f"{place}-{case[0]}" for place, case in enumerate(CASES)])
def test_a_broken_promise_is_found(evidence: Evidence, promise: str, spoil: Callable[[Evidence], None]) -> None:
    spoil(evidence)
    said = evidence.verdict()
    assert promise in {sentence.partition(":")[0] for sentence in said}, said


def test_every_rule_is_tried() -> None:
    assert {promise for promise, _ in CASES} == {*ALWAYS, *SETTLED, *PROMISES, *TRAINING}


def test_a_fault_excuses_a_zombie(evidence: Evidence) -> None:
    _robbed(evidence)
    start = evidence.lines(kind="train", event="start")[0]
    evidence.say({"kind": "fault", "event": "begin", "name": "stop supervisor", "target": "w", "at": start["at"]})
    assert "a living worker keeps its trial" not in {said.partition(":")[0] for said in evidence.verdict()}


def test_a_jump_of_the_clock_excuses_nothing(evidence: Evidence) -> None:
    _robbed(evidence)
    start = evidence.lines(kind="train", event="start")[0]
    evidence.say({"kind": "fault", "event": "begin", "name": "clock ahead", "target": "w", "at": start["at"]})
    assert "a living worker keeps its trial" in {said.partition(":")[0] for said in evidence.verdict()}


def test_what_runs_still_is_no_violation_before_the_end(evidence: Evidence) -> None:
    evidence.sql("UPDATE study SET budget = 5, state = 'running' WHERE name = 'random'")
    said = {sentence.partition(":")[0] for sentence in evidence.verdict(settled=False)}
    assert "everything ends" not in said
    assert "the budget exactly" not in said
