"""The Dockerfile and what is sent to its build, without an engine."""

import re

from tests.support import sources

DOCKERFILE = (sources.ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORE = (sources.ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()


def steps(instruction: str) -> list[str]:
    """Return the arguments of each such instruction, continued lines joined."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return [
        line.removeprefix(instruction).strip() for line in joined.splitlines() if line.startswith(f"{instruction} ")
    ]


def test_only_what_is_named_is_sent() -> None:
    assert "*" in IGNORE
    sent = {line[1:] for line in IGNORE if line.startswith("!")}
    assert set(sources.PACKAGES) | {"settings.py", "alembic.ini", "pyproject.toml", "constraints.txt"} <= sent
    assert [name for name in sent if not (sources.ROOT / name).exists()] == []


def test_what_is_copied_is_sent() -> None:
    sent = {line[1:] for line in IGNORE if line.startswith("!")}
    named = {name for step in steps("COPY") if not step.startswith("--from") for name in step.split()[:-1]}
    assert named - {"."} <= sent


def test_it_does_not_run_as_root() -> None:
    assert steps("USER") == ["tuneup"]
    as_root, as_user = DOCKERFILE.split("\nUSER ")
    assert "CMD" not in as_root
    assert "pip" not in as_user, "what is installed is not the user's to change"


def test_every_installation_is_constrained() -> None:
    installs = [command for step in steps("RUN") for command in step.split("&&") if "pip install" in command]
    assert installs
    assert all("--constraint" in command for command in installs)


def test_torch_is_the_pinned_one_unless_told_otherwise() -> None:
    constraints = (sources.ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = re.search(r"^torch==\S+$", constraints, re.MULTILINE)
    assert pinned is not None
    assert f'TORCH="{pinned[0]}"' in steps("ARG")


def test_the_base_is_a_python_we_support() -> None:
    assert steps("ARG")[0] == "PYTHON_IMAGE=python:3.11-slim-bookworm"
    assert "FROM ${PYTHON_IMAGE} AS build" in DOCKERFILE
