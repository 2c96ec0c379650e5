from pathlib import Path

import pytest

from tuneup.errors import TuneupError
from tuneup.files import require_writable, write_atomically


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    for content in (b"old", b"new and longer"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    reference = tmp_path / "plain"
    reference.touch()
    assert path.stat().st_mode == reference.stat().st_mode


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "tuned.json"
    path.write_bytes(b"old")
    monkeypatch.setattr(step, fail)
    with pytest.raises(TuneupError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    require_writable(tmp_path / "new.json")
    for path, message in ((tmp_path, "it is a folder"), (tmp_path / "none" / "x", "there is no folder")):
        with pytest.raises(TuneupError, match=message):
            require_writable(path)
