"""Checkpoint files: whole or not there, never used if they are not what was written, and few."""

import contextlib
import errno
import io
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from training import checkpoint, files
from training.checkpoint import Keeper
from training.files import Saved
from training.state import Snapshot

ROOT = Path(__file__).resolve().parents[2]


def content(number: float) -> Snapshot:
    return {"format": 1, "tensors": [torch.full((64,), number)], "epoch": 3}


def written(folder: Path, attempt: int, step: int, serial: int = 1) -> Saved:
    return checkpoint.write(folder / files.name(attempt, step, serial), step, content(step))


def anything(snapshot: Snapshot) -> bool:
    return bool(snapshot)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read(tmp_path: Path) -> None:
    saved = written(tmp_path, 2, 7)
    assert names(tmp_path) == ["2-7-1.pt"]
    assert (saved.step, saved.size) == (7, saved.path.stat().st_size)
    again = checkpoint.read(saved)
    assert again is not None
    assert torch.equal(again["tensors"][0], torch.full((64,), 7.0))


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def put_another(path: Path) -> None:
    torch.save(content(99), path)


HARM = [tear, flip, put_another, Path.unlink, lambda path: path.write_bytes(b"")]


@pytest.mark.parametrize("harm", HARM)
def test_a_file_that_is_not_what_was_written_is_passed_over(tmp_path: Path, harm: Any) -> None:
    older, newer = written(tmp_path, 1, 4), written(tmp_path, 1, 5)
    keeper = Keeper(tmp_path, attempt=2, resume=[newer, older])
    found = keeper.resume(anything)
    assert found is not None
    assert found[0] == newer
    harm(newer.path)
    found = keeper.resume(anything)
    assert found is not None
    assert found[0] == older
    assert torch.equal(found[1]["tensors"][0], torch.full((64,), 4.0))
    assert files.newest_sound([newer, older]) == older
    harm(older.path)
    assert keeper.resume(anything) is None
    assert files.newest_sound([newer, older]) is None


def test_one_that_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    older, newer = written(tmp_path, 1, 4), written(tmp_path, 1, 5)
    keeper = Keeper(tmp_path, attempt=2, resume=[newer, older])
    found = keeper.resume(lambda snapshot: bool(snapshot["tensors"][0][0] < 5))
    assert found is not None
    assert found[0] == older


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def test_nothing_that_runs_code_is_loaded_however_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    buffer = io.BytesIO()
    torch.save({"tensors": Trap(tmp_path / "sprung")}, buffer)
    path = tmp_path / "1-3-1.pt"
    digest = files.write(path, buffer.getvalue())
    assert checkpoint.read(Saved(path, digest, 3)) is None
    assert not (tmp_path / "sprung").exists()
    assert "1-3-1.pt cannot be loaded" in capsys.readouterr().err


@pytest.mark.parametrize("data", [b"", b"not what torch writes"])
def test_a_sound_file_that_is_no_checkpoint_is_passed_over(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "1-3-1.pt"
    assert checkpoint.read(Saved(path, files.write(path, data), 3)) is None


@pytest.mark.parametrize("lost_after", [1, 2, 3])
def test_what_is_removed_between_two_looks_is_gone_and_not_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost_after: int
) -> None:
    path, look, looks = tmp_path / "1-3.pt", Path.stat, 0
    path.write_text("x")

    def look_and_lose(of: Path, **more: Any) -> os.stat_result:
        nonlocal looks
        found = look(of, **more)
        looks += of == path
        if looks == lost_after:
            path.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "stat", look_and_lose)
    with contextlib.suppress(FileNotFoundError):
        assert files.lies_in(tmp_path, path)


def test_a_full_disk_costs_a_checkpoint_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keeper = Keeper(tmp_path, attempt=1)
    before = keeper.save(1, content(1))
    for serial in (2, 3):
        (tmp_path / f"1-2-{serial}.pt.tmp").symlink_to("/dev/full")
        assert keeper.save(2, content(2)) is None
    assert before is not None
    assert names(tmp_path) == ["1-1-1.pt"]
    assert checkpoint.read(before) is not None
    complaints = [line for line in capsys.readouterr().err.splitlines() if os.strerror(errno.ENOSPC) in line]
    assert len(complaints) == 1
    after = keeper.save(2, content(2))
    assert after is not None
    assert checkpoint.read(after) is not None


@pytest.mark.parametrize("refused", ["fsync", "replace", "sync_folder"])
def test_what_cannot_be_made_durable_is_not_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise OSError(errno.EIO, "no")

    owner: Any = {"fsync": files.os, "replace": Path, "sync_folder": files}[refused]  # type: ignore[attr-defined]
    monkeypatch.setattr(owner, refused, refuse)
    assert Keeper(tmp_path, attempt=1).save(1, content(1)) is None
    assert not list(tmp_path.glob("*.tmp"))


def test_a_folder_is_made_although_its_parent_is_tidied_away_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, make = tmp_path / "study" / "7", os.mkdir
    tidied: list[Path] = []

    def make_and_tidy(path: Path, mode: int = 0o777) -> None:
        make(path, mode)
        if path == folder.parent and not tidied:
            tidied.append(path)
            path.rmdir()

    monkeypatch.setattr(os, "mkdir", make_and_tidy)
    files.make_folder(folder)
    assert (folder.is_dir(), tidied) == (True, [folder.parent])


def test_a_folder_that_cannot_be_made_fails_no_trial(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    keeper = Keeper(tmp_path / "file" / "trial", attempt=1)
    assert keeper.resume(anything) is None
    assert keeper.save(1, content(1)) is None


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from training import checkpoint, files
    moment, folder = sys.argv[1], Path(sys.argv[2])
    keeper = checkpoint.Keeper(folder, attempt=1)
    first = keeper.save(1, {"format": 1, "tensors": []})
    print(first.sha256, flush=True)
    def die(*_): os.kill(os.getpid(), signal.SIGKILL)
    setattr(*{"before fsync": (files.os, "fsync", die), "before rename": (Path, "replace", die),
              "after rename": (files, "sync_folder", die)}[moment])
    keeper.save(2, {"format": 1, "tensors": []})
"""


@pytest.mark.parametrize("moment", ["before fsync", "before rename", "after rename"])
def test_kill_9_while_writing_leaves_nothing_that_is_resumed(tmp_path: Path, moment: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(KILLED), moment, str(tmp_path)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    first = Saved(tmp_path / "1-1-1.pt", killed.stdout.strip(), 1)
    left = "1-2-2.pt" if moment == "after rename" else "1-2-2.pt.tmp"
    assert names(tmp_path) == ["1-1-1.pt", left]

    # Nobody was told of the second one, so it is not in the list, and goes.
    found = Keeper(tmp_path, attempt=2, resume=[first]).resume(anything)
    assert found is not None
    assert found[0] == first
    assert names(tmp_path) == ["1-1-1.pt"]


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    kept = [written(tmp_path, 2, 4), written(tmp_path, 1, 3)]
    for attempt, step in ((1, 1), (1, 2), (3, 5)):
        written(tmp_path, attempt, step)
    (tmp_path / "1-2-9.pt.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("not ours")
    return Keeper(tmp_path, attempt=3, resume=kept)


def test_two_of_its_own_stay_and_what_it_may_go_on_from(tmp_path: Path, keeper: Keeper) -> None:
    """And those of another attempt, later than itself, of which it knows nothing."""
    written(tmp_path, 4, 1)
    assert keeper.resume(anything) is not None
    (tmp_path / "3-5-1.pt").unlink()
    kept = {"1-3-1.pt", "2-4-1.pt", "4-1-1.pt", "notes.txt"}
    assert set(names(tmp_path)) == kept
    for step in (5, 6, 7, 8):
        assert keeper.save(step, content(step)) is not None
        keeper.prune()
    assert set(names(tmp_path)) == kept | {"3-7-3.pt", "3-8-4.pt"}


def test_of_a_long_step_the_newest_stay_and_that_of_the_step_before(tmp_path: Path) -> None:
    """The ledger names one file a step, so the newest of each of two steps must be there."""
    keeper = Keeper(tmp_path, attempt=1)
    for step in (0, 0, 1, 1, 1, 1):
        keeper.save(step, content(step))
        keeper.prune()
    assert names(tmp_path) == ["1-0-2.pt", "1-1-5.pt", "1-1-6.pt"]
    keeper.save(2, content(2))
    keeper.prune()
    assert names(tmp_path) == ["1-1-6.pt", "1-2-7.pt"]
