"""The wheel holds the client and the optimizer core, and both work from it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support import sources


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as a release would and return its path."""
    folder = tmp_path_factory.mktemp("wheel")
    command: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    built = subprocess.run(command, cwd=sources.ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("tuneup-*.whl"))


def test_it_holds_the_client_and_the_core_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"tuneup"}
    expected = {
        *(f"tuneup/{path.relative_to('client/tuneup')}" for path in sources.own(".py", under=("client",))),
        *(f"tuneup/{path}" for path in sources.own(".py", under=("optim",))),
    }
    assert {name for name in names if name.endswith(".py")} == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_core_works_under_its_name_in_the_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import tuneup, tuneup.optim.build, tuneup.optim.schedules\n"
        "print(tuneup.__file__, 'optim' in sys.modules)"
    )
    command = [sys.executable, "-I", "-c", script]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == [str(tmp_path / "tuneup" / "__init__.py"), "False"]
