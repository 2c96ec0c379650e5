"""A disk that runs full: what was acknowledged stays, what cannot be stored is refused in words, and work goes on by itself."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from models.session import Database
from tests.support.deployment import Deployment, embedded, wait_for
from tests.support.ledger import Ledger, broken_promises

MIB = 2**20
STUDY: dict[str, Any] = {
    "name": "on a small disk",
    "objective": {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [8]}, "epochs": 40},
    "metrics": [{"name": "val_loss", "goal": "minimize"}],
    "space": {"lr": {"type": "float", "low": 0.001, "high": 0.5, "scale": "log"}},
    "search": {"strategy": "random", "seed": 1},
    "budget": {"trials": 12},
}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"only root may mount a small disk here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _fill(place: Path) -> Path:
    """Write until nothing more fits; return the file to remove."""
    path = place / "filler"
    with path.open("wb", buffering=0) as file:
        size = MIB
        while size >= 512:
            try:
                file.write(os.urandom(size))
            except OSError:
                size //= 2
    return path


def _post(service: Deployment) -> httpx2.Response:
    return httpx2.post(f"{service.url}/v1/studies", json=STUDY, timeout=60)


def _refused_in_words(service: Deployment) -> bool:
    """Say whether a POST is refused because of the disk; anything but that and success is a fault."""
    reply = _post(service)
    assert reply.status_code in {201, 503}, reply.text
    if reply.status_code == 201:
        return False
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["retry-after"]
    return True


@pytest.mark.slow
def test_a_full_disk_loses_nothing_and_work_goes_on_once_there_is_room(small_disk: Path) -> None:
    with embedded(small_disk, workers=1) as service:
        first = _post(service)
        assert first.status_code == 201
        study = service.client.get_study(first.json()["id"])
        wait_for(lambda: study.refresh().progress["finished"] >= 2, seconds=60, what="two trials finished")
        filler = _fill(small_disk)
        # The write-ahead log may have room left inside.
        wait_for(lambda: _refused_in_words(service), seconds=60, what="a POST refused")
        full = study.refresh()
        filler.unlink()
        wait_for(lambda: not _refused_in_words(service), seconds=60, what="a POST accepted again")
        study.wait(timeout=200)
        assert study.progress == {"allocated": 12, "finished": 12, "running": 0, "budget": 12}
        assert full.progress["finished"] >= 2
        accepted = [each.id for each in service.client.studies()]
        for each in accepted:
            service.client.get_study(each).wait(timeout=200)
        database = Database(f"sqlite:///{small_disk / 'data' / 'tuneup.db'}")
        assert broken_promises(Ledger(database, project=1)) == []
        assert database.read(lambda c: c.exec_driver_sql("PRAGMA integrity_check").scalar_one()) == "ok"
        database.dispose()
    assert first.json()["id"] in accepted
