"""What the environment may say, and what of it is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from settings import Settings, load, places


def test_a_sqlite_file_lies_in_one_place_for_every_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNEUP_DATABASE_URL", raising=False)
    assert Settings().database_url == f"sqlite:///{tmp_path.resolve() / 'tuneup.db'}"
    monkeypatch.setenv("TUNEUP_DATABASE_URL", "postgresql+psycopg://somebody@somewhere/tuneup")
    assert Settings().database_url == "postgresql+psycopg://somebody@somewhere/tuneup"


@pytest.mark.parametrize(("given", "meant"), [("", None), ("  ", None), ("key\n", "key"), ("key", "key")])
def test_a_key_is_read_bare_and_an_empty_one_is_none(
    given: str, meant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEUP_API_KEY", given)
    key = Settings().api_key
    assert (key.get_secret_value() if key is not None else None) == meant


def test_a_lease_outlives_lost_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEUP_LEASE_SECONDS", "5")
    with pytest.raises(ValidationError, match="TUNEUP_HEARTBEAT_SECONDS"):
        Settings()
    monkeypatch.setenv("TUNEUP_HEARTBEAT_SECONDS", "1")
    assert Settings().lease_seconds == 5


def test_databases_go_by_the_names_that_hosts_give_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEUP_DATABASE_URL", "postgres://somebody@somewhere/tuneup")
    assert load().database_url == "postgresql+psycopg://somebody@somewhere/tuneup"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TUNEUP_DATABASE_URL", "mysql://x"),
        ("TUNEUP_LEASE_SECONDS", "never"),
        ("TUNEUP_CHECKPOINT_SECONDS", "0"),
        ("TUNEUP_GRACE_SECONDS", "-1"),
    ],
)
def test_a_bad_setting_is_said_in_a_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=name) as caught:
        load()
    assert "\n" not in str(caught.value)


def test_objectives_are_those_of_the_folder_it_starts_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNEUP_OBJECTIVES", raising=False)
    assert Settings().objectives is None
    (tmp_path / "tuneup.toml").write_text("")
    assert Settings().objectives == tmp_path.resolve() / "tuneup.toml"
    monkeypatch.setenv("TUNEUP_OBJECTIVES", "other.toml")
    assert Settings().objectives == tmp_path.resolve() / "other.toml"
    monkeypatch.setenv("TUNEUP_OBJECTIVES", "")
    assert Settings().objectives is None


def test_a_program_started_elsewhere_finds_the_same_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "tuneup.toml").write_text("")
    for name in ("DATABASE_URL", "OBJECTIVES", "CHECKPOINTS", "DATA"):
        monkeypatch.delenv(f"TUNEUP_{name}", raising=False)
    monkeypatch.chdir(here)
    (here / "tuneup.toml").unlink()
    settled = load()
    assert settled.checkpoints == here.resolve() / ".tuneup" / "checkpoints"
    assert settled.data == here.resolve() / ".tuneup" / "datasets"
    monkeypatch.chdir(there)
    for name, value in places(settled).items():
        monkeypatch.setenv(name, value)
    assert load() == settled
