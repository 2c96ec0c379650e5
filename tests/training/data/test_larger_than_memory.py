"""Data of 200 MB are converted and trained on by a process that may take 64 MB for it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.sources import ROOT

ROWS, FEATURES = 100_000, 512
LIMIT = 64 * 2**20
SCRIPT = """
import json, resource, sys
from pathlib import Path
import numpy as np, torch
from tests.training.recorder import Recorder
from training import recipes

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
goal = {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [8]}, "epochs": 1}
recipes.run(goal, {}, seed=1, watch=Recorder())  # what is loaded at first use is no part of the data
# What the process has for itself: private memory that it can write. Mapped files are not in it.
status = Path("/proc/self/status").read_text()
held = 1024 * int(status.partition("VmData:")[2].split()[0])
resource.setrlimit(resource.RLIMIT_DATA, (held + limit, held + limit))
try:
    np.load(folder / "large.npz")["inputs"]
    whole = "fits"
except MemoryError:
    whole = "does not fit"
watch = Recorder()
params = {"optimizer": "adam", "lr": 0.01, "batch_size": 512}
outcome = recipes.run(goal | {"data": "large"}, params, seed=1, watch=watch, folder=folder)
print(json.dumps([whole, outcome.outcome, watch.seen[-1][1]]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit memory differently")
def test_trains_with_less_memory_than_the_data_have(tmp_path: Path) -> None:
    inputs = np.random.default_rng(1).normal(size=(ROWS, FEATURES)).astype(np.float32)
    assert inputs.nbytes > 3 * LIMIT
    np.savez(tmp_path / "large.npz", inputs=inputs, targets=(inputs[:, 0] > 0).astype(np.int64))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(LIMIT)]
    ran = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    whole, outcome, values = json.loads(ran.stdout)
    assert whole == "does not fit"
    assert outcome == "completed"
    assert values["val_accuracy"] > 0.9
