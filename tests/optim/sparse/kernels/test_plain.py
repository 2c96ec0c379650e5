"""What the loops of torch's operations leave unsaid."""

import subprocess
import sys

# torch says it once in a process, so it takes a fresh one.
PROGRAM = """
import torch
from optim.sparse.kernels.plain import sampled

ones = torch.ones(2, 3)
assert sampled(ones, ones, torch.tensor([0, 1]), torch.tensor([1, 0])).tolist() == [3.0, 3.0]
"""


def test_users_do_not_hear_that_sparse_rows_are_in_beta() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], check=False, capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stderr) == (0, "")
