"""The installed command as a process of its own: exit codes, signals, and the CI example."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.client.fake_service import FakeService

pytestmark = pytest.mark.usefixtures("url")
CI = Path(__file__).parents[2] / "examples" / "ci"
TUNEUP = Path(sys.executable).parent / "tuneup"
FLAGS = ["--json", "--timeout", "30m", "--output", "tuned.json"]


def ci(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{TUNEUP.parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", str(CI / "tune.sh")],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_ctrl_c_in_a_real_process(study_file: Path, service: FakeService) -> None:
    service.step = 0
    process = subprocess.Popen(
        [TUNEUP, "run", study_file],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them, and what they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads matter here
    )
    assert service.looked.wait(30)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "goes on running; look again with `tuneup status" in err
    assert "Traceback" not in err


def test_the_ci_example_passes_on_a_completed_study(study_file: Path) -> None:
    done = ci(study_file.parent)
    assert (done.returncode, done.stdout) == (0, "tuned: the best parameters are in tuned.json\n")
    assert json.loads((study_file.parent / "tuned.json").read_text())["params"]["lr"] == 0.01
    assert json.loads((study_file.parent / "answer.json").read_text())["study"]["state"] == "completed"


def test_the_ci_example_fails_on_a_bad_study(study_file: Path) -> None:
    study_file.write_text("name: [")
    (study_file.parent / "tuned.json").write_text("old")
    done = ci(study_file.parent)
    assert done.returncode == 2
    assert "error: study.yaml, line 1" in done.stderr
    assert not (study_file.parent / "tuned.json").exists()


def test_the_ci_example_says_when_time_is_spent(study_file: Path, service: FakeService) -> None:
    service.step = 1
    done = ci(study_file.parent, TUNE_TIMEOUT="0.2s")
    assert done.returncode == 5
    assert "holds the best so far" in done.stderr


def test_the_workflow_calls_the_same_command() -> None:
    workflow = yaml.safe_load((CI / "workflow.yaml").read_text())
    steps = workflow["jobs"]["tune"]["steps"]
    tune = next(step["run"] for step in steps if step.get("name") == "Tune")
    assert f"tuneup run study.yaml {' '.join(FLAGS)}" in tune
    assert tune.startswith("rm -f tuned.json\n")
    assert shutil.which("bash")
    subprocess.run(["bash", "-n"], input=tune, text=True, check=True)


def test_python_m_tuneup_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "tuneup", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("tuneup ")
