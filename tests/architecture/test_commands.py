"""The commands that people, scripts and CI call keep their names."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support import sources

TARGETS = ("setup", "demo", "test", "test-all", "check", "bench", "faults", "gpu", "format")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make here, apart from a make that may be running the tests."""
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    return subprocess.run(
        ["make", *arguments], cwd=sources.ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_make_alone_lists_the_targets() -> None:
    listed = re.findall(r"^  make (\S+) +\S", make().stdout, re.MULTILINE)
    assert set(TARGETS) <= set(listed)


@pytest.mark.parametrize("target", TARGETS)
def test_targets_exist(target: str) -> None:
    answer = make("--dry-run", target)
    assert answer.returncode == 0, answer.stderr


def test_ci_runs_the_documented_test_command() -> None:
    readme = (sources.ROOT / "README.md").read_text(encoding="utf-8")
    assert "make test" in readme
    assert "exec make test" in (sources.ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [".ci/run", "scripts/setup", "scripts/constraints"])
def test_scripts_can_be_run(path: str) -> None:
    assert os.access(sources.ROOT / path, os.X_OK)
    assert subprocess.run(["bash", "-n", path], cwd=sources.ROOT, check=False).returncode == 0


def test_constraints_pin_every_requirement_without_a_place() -> None:
    lines = [line for line in sources.lines(Path("constraints.txt")) if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line)] == []
    project = tomllib.loads((sources.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for group in project["optional-dependencies"].values() for name in group),
    ]
    names = {_normal(re.split(r"[^A-Za-z0-9_.-]", requirement)[0]) for requirement in wanted} - {"tuneup"}
    assert {"torch", "fastapi", "pytest"} <= names
    assert names - {_normal(line.partition("==")[0]) for line in lines} == set()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
