"""The standard library is read, and never imported."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.sources import ROOT
from training.data.imports import _imported
from training.data.library import parsed


def test_a_package_is_read_whole_and_in_order() -> None:
    packages = [package for package, _ in parsed(frozenset({"json", "queue"}))]
    assert packages[0] == "json"
    assert set(packages) == {"json", ""}
    assert packages == [package for package, _ in parsed(frozenset({"json", "queue"}))]


def test_nothing_of_it_is_run() -> None:
    """`this` prints a poem when it is imported, `antigravity` opens a browser."""
    script = (
        "import sys\nfrom training.data.library import parsed\n"
        "assert len(list(parsed(frozenset({'this', 'antigravity'})))) == 2\n"
        "assert not {'this', 'antigravity'} & set(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=ROOT)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_an_installation_without_sources_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    (tmp_path / "broken.py").write_text("this is = no Python (")
    with pytest.raises(ValueError, match=r"no source files of the standard library in .*: use other data"):
        list(parsed())


def test_imports_have_their_whole_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").write_text("")
    (inner / "c.py").write_text("import os.path, re\nfrom x.y import z\nfrom . import d, e\nfrom ..f import g\n")
    found = {package: _imported(package, tree) for package, tree in parsed()}
    assert found["a.b"] == {"os.path", "re", "x.y", "a.b.d", "a.b.e", "a.f"}
    assert found["a"] == set()
