"""The studies in `examples/` are valid, and what their comments say of them is true."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from search.definition.parse import parse_study
from tests.support.sources import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_valid_studies(path: Path) -> None:
    assert parse_study(yaml.safe_load(path.read_text())).trials > 0


def test_examples_have_the_trials_they_say() -> None:
    counts = {path.stem: parse_study(yaml.safe_load(path.read_text())).trials for path in EXAMPLES}
    assert counts == {"grid": 24, "digits": 40, "preset": 30, "comparison": 36}
    space = parse_study(yaml.safe_load((ROOT / "examples" / "preset.yaml").read_text())).space
    assert set(space) == {"optimizer", "lr", "beta1", "momentum", "weight_decay", "warmup", "eps"}


def test_the_demo_compares_with_a_valid_study() -> None:
    script = runpy.run_path(str(ROOT / "examples" / "demo.py"))
    assert parse_study(script["default_study"]()).trials == 1


@pytest.mark.slow
def test_the_demo_ends_with_a_good_configuration() -> None:
    ended = subprocess.run([sys.executable, "examples/demo.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "best configuration: " in ended.stdout
