"""Where checkpoints lie: what a trial is offered, what is refused, and what is removed when."""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.ids import show_study
from models.states import TrialState
from search.studies.service import cancel_study, delete_study
from search.trials.dispatch import Claim, Dispatcher, Kept, Result
from search.trials.failures import Failure
from search.trials.resuming import Checkpoint
from tests.support.ledger import Ledger, definition, done, opened, report
from training.checkpoint import Keeper
from workers import checkpoints
from workers.checkpoints import Shelf
from workers.outbox import Outbox


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """Yield an empty ledger; one kind of database will do here."""
    with opened(sqlite_url) as made:
        yield made


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "checkpoints", 30.0)


def _claims(ledger: Ledger, trials: int = 1) -> tuple[Dispatcher, list[Claim]]:
    ledger.create(definition(trials=trials))
    worker = ledger.worker()
    return worker, worker.claim(queue="cpu", capacity=trials)


def _write(shelf: Shelf, claim: Claim, name: str = "1-3-1.pt") -> Path:
    path = shelf.place(claim) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def _kept(shelf: Shelf, claim: Claim, path: Path, step: int = 3) -> Kept:
    relative = shelf.relative(claim, str(path))
    assert relative is not None
    return Kept(claim, step, relative, "0" * 64, 1, {"val_loss": 0.5})


def test_a_fresh_trial_is_offered_an_empty_folder(ledger: Ledger, shelf: Shelf) -> None:
    _, (claim,) = _claims(ledger)
    assert shelf.offer(claim) == {"folder": str(shelf.place(claim)), "seconds": 30.0, "resume": []}
    assert shelf.place(claim).is_dir()
    assert shelf.place(claim) == shelf.root / show_study(claim.study_id) / "0"


def test_a_folder_is_offered_although_its_study_was_tidied_away_meanwhile(
    ledger: Ledger, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (claim,) = _claims(ledger)
    study, make = shelf.place(claim).parent, os.mkdir
    tidied: list[Path] = []

    def make_and_tidy(path: Path, mode: int = 0o777) -> None:
        make(path, mode)
        if path == study and not tidied:
            tidied.append(path)
            path.rmdir()

    monkeypatch.setattr(os, "mkdir", make_and_tidy)
    assert shelf.offer(claim) is not None
    assert (shelf.place(claim).is_dir(), tidied) == (True, [study])


def test_for_a_trial_of_a_lane_the_folder_waits_for_the_first_checkpoint(ledger: Ledger, shelf: Shelf) -> None:
    _, (claim,) = _claims(ledger)
    offered = shelf.offer(claim, make=False)
    assert offered is not None
    assert offered["folder"] == str(shelf.place(claim))
    assert not shelf.root.exists()
    shelf.clear(claim)
    keeper = Keeper(Path(offered["folder"]), attempt=1)
    assert keeper.save(0, {}) is not None
    assert [path.parent for path in shelf.root.rglob("*.pt")] == [shelf.place(claim)]


def test_the_next_attempt_is_offered_what_was_kept_wherever_the_folder_lies_now(
    ledger: Ledger, shelf: Shelf, tmp_path: Path
) -> None:
    worker, (claim,) = _claims(ledger)
    assert worker.keep(_kept(shelf, claim, _write(shelf, claim)))
    worker.release([claim], reason="released")
    (again,) = worker.claim(queue="cpu", capacity=1)
    moved = Shelf(shelf.root.rename(tmp_path / "elsewhere"), 30.0)
    offered = moved.offer(again)
    assert offered is not None
    assert offered["resume"] == [{"path": str(moved.place(again) / "1-3-1.pt"), "sha256": "0" * 64, "step": 3}]
    worker.finish([done(again)])


@pytest.mark.parametrize("name", ["gone.pt", "../1/1-3-1.pt", "../../../secret", "/etc/passwd", "."])
def test_a_file_that_is_gone_or_lies_outside_is_never_offered(ledger: Ledger, shelf: Shelf, name: str) -> None:
    _, (claim, other) = _claims(ledger, 2)
    _write(shelf, other)
    (shelf.root.parent / "secret").write_text("x")
    path = str(Path(show_study(claim.study_id)) / "0" / name)
    offered = shelf.offer(replace(claim, checkpoints=(Checkpoint(3, path, "0" * 64, None),)))
    assert offered is not None
    assert offered["resume"] == []


def test_a_link_out_of_the_folder_is_not_followed(ledger: Ledger, shelf: Shelf, tmp_path: Path) -> None:
    _, (claim,) = _claims(ledger)
    shelf.place(claim).mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (shelf.place(claim) / "1-3-1.pt").symlink_to(tmp_path / "secret")
    assert shelf.relative(claim, str(shelf.place(claim) / "1-3-1.pt")) is None


def test_without_a_folder_a_trial_runs_without_checkpoints(
    ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, (claim,) = _claims(ledger)
    (tmp_path / "file").write_text("x")
    assert Shelf(tmp_path / "file" / "checkpoints", 30.0).offer(claim) is None
    assert "runs without checkpoints" in caplog.text


def test_tidying_keeps_what_may_run_again(ledger: Ledger, shelf: Shelf) -> None:
    worker, claims = _claims(ledger, 4)
    running, queued, completed, failed = claims
    folders = [_write(shelf, claim).parent for claim in claims]
    worker.release([queued], reason="released")
    worker.finish([done(completed), Result(failed, TrialState.FAILED, failure=Failure.USER_ERROR)])
    (shelf.root / "foreign").mkdir()
    (folders[0].parent / "foreign").mkdir()
    shelf.tidy(ledger.database)
    assert [folder.exists() for folder in folders] == [True, True, False, False]
    assert (shelf.root / "foreign").is_dir()
    assert (folders[0].parent / "foreign").is_dir()
    worker.finish([done(running)])


def test_tidying_removes_what_a_deleted_study_left(ledger: Ledger, shelf: Shelf) -> None:
    worker, (claim,) = _claims(ledger)
    _write(shelf, claim)
    worker.finish([done(claim)])
    study = show_study(claim.study_id)
    ledger.database.write(lambda connection: delete_study(connection, ledger.project, study))
    shelf.tidy(ledger.database)
    # As long as it is young it may be another service's, which has its checkpoints in the same folder.
    assert shelf.place(claim).is_dir()
    os.utime(shelf.place(claim), (0, 0))
    shelf.tidy(ledger.database)
    assert list(shelf.root.iterdir()) == []


def test_tidying_goes_on_where_another_worker_tidies_too(
    ledger: Ledger, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [shelf.root / show_study(study) / "0" for study in (1, 2)]
    for folder in folders:
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    look = checkpoints._trials

    def look_late(*given: Any) -> tuple[bool, set[str]]:
        folders[0].rmdir()
        monkeypatch.setattr(checkpoints, "_trials", look)
        return look(*given)

    monkeypatch.setattr(checkpoints, "_trials", look_late)
    monkeypatch.setattr(checkpoints, "_folders", _sorted(checkpoints._folders))
    shelf.tidy(ledger.database)
    assert list(shelf.root.iterdir()) == []


def _sorted(folders: Callable[[Path], Iterable[Path]]) -> Callable[[Path], list[Path]]:
    return lambda parent: sorted(folders(parent))


def test_tidying_where_nothing_is_yet(ledger: Ledger, shelf: Shelf) -> None:
    shelf.tidy(ledger.database)
    assert not shelf.root.exists()


def test_who_is_to_wait_for_promotion_keeps_its_folder_although_it_completed(ledger: Ledger, shelf: Shelf) -> None:
    """Its word was on the way when it was told to wait; by now another worker may have gone on from its checkpoint."""
    ledger.create(definition(trials=3, pruning={"kind": "asha", "reduction": 3, "mode": "promote"}))
    worker = ledger.worker()
    waits, ends = worker.claim(queue="cpu", capacity=2)
    folders = [_write(shelf, claim).parent for claim in (waits, ends)]
    assert worker.report([report(waits, 1, 0.2)])[0].waits
    assert Outbox(worker, shelf).finish([(waits, done(waits)), (ends, done(ends))])
    assert [trial.state for trial in ledger.trials(show_study(waits.study_id))] == ["queued", "completed"]
    assert [folder.exists() for folder in folders] == [True, False]


def test_a_cancelled_study_keeps_no_checkpoint(ledger: Ledger, shelf: Shelf) -> None:
    worker, (claim,) = _claims(ledger)
    _write(shelf, claim)
    worker.release([claim], reason="released")
    ledger.act(cancel_study, show_study(claim.study_id))
    shelf.tidy(ledger.database)
    assert list(shelf.root.iterdir()) == []


def _lineages(ledger: Ledger) -> tuple[str, Dispatcher, list[Claim]]:
    raw = definition(trials=None, search={"strategy": "pbt", "population": 4, "interval": 3})
    raw["objective"]["epochs"] = 6
    study, worker = ledger.create(raw), ledger.worker()
    return study, worker, worker.claim(queue="cpu", capacity=4)


def test_a_child_is_offered_the_file_of_its_parent_and_no_other(ledger: Ledger, shelf: Shelf) -> None:
    _, worker, claims = _lineages(ledger)
    for claim in claims:
        assert worker.keep(_kept(shelf, claim, _write(shelf, claim)))
    worker.finish([done(claim, float(claim.number)) for claim in claims])
    child = worker.claim(queue="cpu", capacity=1)[0]
    offered = shelf.offer(child)
    assert offered is not None
    assert [file["path"] for file in offered["resume"]] == [str(shelf.place(claims[0]) / "1-3-1.pt")]
    strange = replace(
        child, checkpoints=(Checkpoint(3, shelf.relative(claims[1], str(_write(shelf, claims[1]))) or "", "0", None),)
    )
    assert (shelf.offer(strange) or {})["resume"] == []


def test_possible_parents_keep_their_folders_until_the_study_has_ended(ledger: Ledger, shelf: Shelf) -> None:
    study, worker, claims = _lineages(ledger)
    for claim in claims:
        _write(shelf, claim)
    worker.finish([done(claim) for claim in claims])
    shelf.clear(claims[0])
    shelf.tidy(ledger.database)
    assert all(shelf.place(claim).exists() for claim in claims)
    ledger.act(cancel_study, study)
    shelf.tidy(ledger.database)
    assert not any(shelf.place(claim).exists() for claim in claims)


def test_results_are_in_the_ledger_where_the_folder_cannot_be_looked_at(
    ledger: Ledger, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, (claim,) = _claims(ledger)

    def stale(_: Path) -> bool:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(Path, "exists", stale)
    assert Outbox(worker, shelf).finish([(claim, done(claim))])
    assert ledger.trials(show_study(claim.study_id))[0].state == "completed"
