"""The studies in `examples/` are valid, and what their comments say of them is true."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from search.definition.parse import parse_study
from tests.support.sources import ROOT
from tests.training.recorder import measure

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
WIDE = sorted((ROOT / "examples" / "wide").glob("*.yaml"))
STEPS = {"active_fraction", "candidate_fraction", "refresh_rate", "build_seconds", "step_seconds"}


@pytest.mark.parametrize("path", EXAMPLES + WIDE, ids=lambda path: path.name)
def test_examples_are_valid_studies(path: Path) -> None:
    assert parse_study(yaml.safe_load(path.read_text())).trials > 0


def test_examples_have_the_trials_they_say() -> None:
    counts = {path.stem: parse_study(yaml.safe_load(path.read_text())).trials for path in EXAMPLES}
    assert counts == {"grid": 24, "digits": 40, "preset": 30, "comparison": 36}
    space = parse_study(yaml.safe_load((ROOT / "examples" / "preset.yaml").read_text())).space
    assert set(space) == {"optimizer", "lr", "beta1", "momentum", "weight_decay", "warmup", "eps"}


def test_wide_examples_have_the_trials_they_say_and_keep_what_steps_cost() -> None:
    studies = {path.stem: parse_study(yaml.safe_load(path.read_text())) for path in WIDE}
    assert {name: study.trials for name, study in studies.items()} == {
        "width": 15,
        "time_to_loss": 9,
        "samples": 18,
        "inputs_uniform": 9,
        "inputs_clusters": 9,
        "inputs_digits": 9,
        "activations": 27,
    }
    for study in studies.values():
        assert {metric.name for metric in study.metrics} >= STEPS


def test_studies_of_inputs_differ_in_their_data_alone() -> None:
    studies = [yaml.safe_load(path.read_text()) for path in WIDE if path.stem.startswith("inputs_")]
    assert (
        len({study["objective"].pop("data") for study in studies}) == len({study.pop("name") for study in studies}) == 3
    )
    for study in studies:
        study["objective"].pop("train_examples", None)
    assert studies[0] == studies[1] == studies[2]


def test_the_time_to_a_loss_is_that_of_the_loss() -> None:
    objective = yaml.safe_load((ROOT / "examples" / "wide" / "time_to_loss.yaml").read_text())["objective"]
    _, measured = measure({**objective, "epochs": 8, "width": 1000}, {"lr": 20})
    reached = next(
        step for step, values in measured if values["train_loss"] <= objective["measured"]["target"]["value"]
    )
    assert reached > 1
    assert measured[-1][1]["steps_to_target"] == 125 * reached


@pytest.mark.parametrize("path", WIDE, ids=lambda path: path.name)
def test_a_trial_of_a_wide_example_reports_its_metrics(path: Path) -> None:
    study = yaml.safe_load(path.read_text())
    space = study["space"].items()
    params = {name: each.get("levels", each.get("choices", [1]))[0] for name, each in space}
    small = {"epochs": 1, "width": 500, "train_examples": 300}
    smaller = {name: value for name, value in small.items() if name not in study["space"]}
    outcome, measured = measure({**study["objective"], **smaller}, params)
    assert outcome.outcome == "completed"
    assert measured[-1][1].keys() >= {metric["name"] for metric in study["metrics"]}


def test_a_program_of_ones_own_uses_its_network_on_new_inputs(tmp_path: Path) -> None:
    program = runpy.run_path(str(ROOT / "examples" / "wide" / "program.py"))
    kept = tmp_path / "network.pt"
    model, sphere = program["train"](*program["examples"](2000, seed=1))
    program["write"](kept, model, sphere)
    inputs, sides = program["examples"](500, seed=2)
    found = program["predict"](kept, inputs)
    assert (found.sign() == sides).float().mean() > 0.85
    # Each by itself, and as the network says where it was trained: the sphere is that of the training, whatever is asked.
    torch.testing.assert_close(torch.cat([program["predict"](kept, one) for one in inputs.split(1)]), found)
    points, _ = sphere.project(inputs)
    torch.testing.assert_close(found, model.network.outputs(model.weights, model.layer.signs, points))
    surest = found[:, 0].abs().argmax()
    torch.testing.assert_close(program["surest"](kept, inputs)[0], inputs[surest])


def test_the_demo_compares_with_a_valid_study() -> None:
    script = runpy.run_path(str(ROOT / "examples" / "demo.py"))
    assert parse_study(script["default_study"]()).trials == 1


@pytest.mark.slow
def test_the_demo_ends_with_a_good_configuration() -> None:
    ended = subprocess.run([sys.executable, "examples/demo.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "best configuration: " in ended.stdout


@pytest.mark.parametrize("momentum", [0.0, 0.8, 0.95])
def test_the_command_says_that_it_diverges_at_the_greatest_rates(momentum: float) -> None:
    told = {"params": {"rate": 1.0, "momentum": momentum}, "options": {}, "seed": 1, "resume": None, "checkpoint": None}
    command = [sys.executable, str(ROOT / "examples" / "command" / "train.py")]
    done = subprocess.run(command, input=json.dumps(told), capture_output=True, text=True, check=True)
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last.get("outcome"), done.stderr) == ("diverged" if momentum else None, "")
