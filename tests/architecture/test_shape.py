"""Sizes and places: files and functions stay small, tests mirror the packages."""

import ast
from pathlib import Path

import pytest

from tests.support import sources

FILE_LINES = 500
FUNCTION_LINES = 80
FILES = sources.own(".py", ".js", ".html", ".css")
PYTHON = sources.own(".py")

# Folders of tests that mirror no package: what they hold concerns all of them.
CROSSCUTTING = {"architecture", "deploy", "e2e", "faults", "support"}

FULL_INITS = {Path("client/tuneup/__init__.py"): "the names that users of the client import"}


def test_there_is_something_to_look_at() -> None:
    assert Path("settings.py") in PYTHON
    assert Path("tests/conftest.py") in PYTHON


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_are_short(path: Path) -> None:
    assert len(sources.lines(path)) <= FILE_LINES, "split it"


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_functions_are_short(path: Path) -> None:
    lengths = {f.name: f.end_lineno - f.lineno + 1 for f in sources.functions(path) if f.end_lineno}
    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", [path for path in PYTHON if path.name == "__init__.py"], ids=str)
def test_inits_are_empty(path: Path) -> None:
    """Import contracts do not see what a package's __init__ pulls in."""
    assert path in FULL_INITS or not (sources.ROOT / path).read_text(encoding="utf-8").strip()


def test_packages_are_packages() -> None:
    folders = {path.parent for path in sources.product() if len(path.parts) > 1} - {Path("migrations/versions")}
    assert [folder for folder in folders if not (sources.ROOT / folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("path", sources.own(".py", under=("tests",)), ids=str)
def test_tests_mirror_the_folders(path: Path) -> None:
    assert path.name != "__init__.py", "tests are found by path, not as packages"
    if len(path.parts) == 2:
        tested = sources.ROOT / path.name.removeprefix("test_")
        assert path.name == "conftest.py" or tested.exists(), f"there is no {tested.name} to test: use a folder"
        return
    folder = path.parts[1]
    assert folder in CROSSCUTTING or (sources.ROOT / folder).is_dir(), f"there is no folder {folder}/ to test"


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_no_imports_inside_functions(path: Path) -> None:
    hidden = [
        node.lineno
        for function in sources.functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert hidden == []
