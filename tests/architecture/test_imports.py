"""What each package may import of ours directly, and what starting the API loads.

import-linter follows indirect imports (its contracts are in pyproject.toml) but has no list of the only modules allowed.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import sources

OURS = {"api", "workers", "search", "models", "migrations", "training", "optim", "tuneup", "settings"}
BESIDE = {"benchmarks", "examples", "scripts", "tests"}

# Package -> what it may import: a package with all it holds, or one module. optim imports itself relatively, because
# in the wheel it is tuneup.optim.
MAY_IMPORT: dict[str, set[str]] = {
    # The API asks Alembic whether the tables are at its revision; `tuneup serve` brings its own database there.
    "api": {
        "api",
        "search",
        "models",
        "workers.queue",
        "workers.reaper",
        "migrations.upgrade",
        "optim.catalog",
        "optim.lab.optimizers",
        "optim.lab.surfaces",
        "settings",
    },
    # Of training what both sides of the socket share: its words, the files of checkpoints, looks at processes.
    "workers": {
        "workers",
        "search",
        "models",
        "migrations.upgrade",
        "training.files",
        "training.processes",
        "training.protocol",
        "settings",
    },
    "search": {"search", "models", "optim.catalog"},
    "training": {"training", "optim"},
    "models": {"models"},
    "migrations": {"migrations", "models", "settings"},
    "optim": set(),
    "client": {"tuneup"},
    "settings.py": set(),
}


def foreign(path: Path, allowed: set[str]) -> list[str]:
    """Return the imports of ours in this file that are not below anything allowed."""
    return [
        f"{path}:{line}: {name}"
        for line, name in sources.imports(path)
        if name.split(".")[0] in OURS | BESIDE
        and not any(name == place or name.startswith(f"{place}.") for place in allowed)
    ]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_what_they_may(package: str) -> None:
    files = [path for path in sources.product() if path.parts[0] == package]
    assert files
    assert [wrong for path in files for wrong in foreign(path, MAY_IMPORT[package])] == []


def test_every_package_has_its_rule() -> None:
    assert {path.parts[0] for path in sources.product()} == set(MAY_IMPORT)


def test_a_foreign_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    (tmp_path / "a.py").write_text("from training import protocol, loop\nimport optim.catalog\nimport json\n")
    assert foreign(Path("a.py"), {"training.protocol", "optim.catalog"}) == ["a.py:1: training.loop"]


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("api.app", {"torch", "matplotlib", "optuna", "sklearn", "training"}),
        ("workers.queue", {"torch", "sqlalchemy"}),
        ("search.definition.parse", {"torch", "optuna", "sqlalchemy"}),
        ("search.analysis.tradeoffs", {"numpy", "optuna", "sqlalchemy"}),
        ("training.files", {"torch"}),
        ("training.processes", {"torch"}),
        ("training.protocol", {"torch"}),
        ("optim.catalog", {"torch"}),
        ("optim.lab.surfaces", {"torch"}),
        ("tuneup.cli", {"torch", "sqlalchemy", "celery", "fastapi", "optim"}),
    ],
)
def test_importing_loads_nothing_heavy(module: str, unwanted: set[str]) -> None:
    script = f"import json, sys, {module}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=sources.ROOT, capture_output=True, text=True, check=False
    )
    assert loaded.returncode == 0, loaded.stderr
    assert unwanted & set(json.loads(loaded.stdout.splitlines()[-1])) == set()
