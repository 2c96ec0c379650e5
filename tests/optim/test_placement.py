"""The core works under another package, as the wheel places it at tuneup/optim."""

import shutil
import subprocess
import sys
from pathlib import Path

import optim

PROGRAM = """
import sys, torch
from tuneup.optim.build import build
parameter = torch.ones(1, requires_grad=True)
parameter.sum().backward()
build("adamw", [parameter], lr=0.1, weight_decay=0.0).step()
assert abs(parameter.item() - 0.9) < 1e-6
assert not any(name == "optim" or name.startswith("optim.") for name in sys.modules)
"""


def test_runs_inside_another_package(tmp_path: Path) -> None:
    shutil.copytree(Path(optim.__path__[0]), tmp_path / "tuneup" / "optim")
    (tmp_path / "tuneup" / "__init__.py").touch()
    # Isolated, so that the program finds the copy alone.
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PROGRAM}"
    ran = subprocess.run([sys.executable, "-I", "-c", program], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
