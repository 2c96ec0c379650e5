"""What is refused before anything is computed, by name and row."""

import torch
from torch import Tensor

# Inputs must have length 1 to this.
LENGTH_TOLERANCE = 1e-4


def named(wrong: Tensor, what: str = "input") -> str:
    """Name the first few of the rows that are wrong, (n,) bool, with their verb: "inputs 3, 7 are"."""
    rows = torch.nonzero(wrong)[:, 0].tolist()
    first = ", ".join(str(row) for row in rows[:5]) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
    return f"{what} {first} is" if len(rows) == 1 else f"{what}s {first} are"


def check_finite(rows: Tensor, what: str) -> None:
    """Raise ValueError for rows (n, d) that are not finite."""
    finite = rows.isfinite().all(dim=1)
    if not finite.all():
        raise ValueError(f"{named(~finite, what)} not finite: mend or leave out these {what}s")


def check_rows(rows: Tensor, what: str, *, features: int | None = None) -> None:
    """Raise ValueError for what is no finite matrix of float32, (n, d), in one piece on the CPU and without gradients."""
    shape = tuple(rows.shape)
    if rows.dim() != 2 or 0 in shape:
        raise ValueError(f"{what}s must be the rows of a matrix (n, d), got shape {shape}")
    if features is not None and shape[1] != features:
        raise ValueError(f"{what}s must have {features} numbers each, as the others have, got {shape[1]}")
    if rows.dtype != torch.float32 or rows.device.type != "cpu" or not rows.is_contiguous():
        raise ValueError(
            f"{what}s must be float32, contiguous and on the CPU, got {rows.dtype} on {rows.device}: "
            "use .float().cpu().contiguous()"
        )
    if rows.requires_grad:
        raise ValueError(f"{what}s must not require gradients, since nothing is differentiated here: use .detach()")
    check_finite(rows, what)


def check_on_sphere(inputs: Tensor) -> None:
    """Raise ValueError for inputs (n, d) that do not have length 1."""
    off = (inputs.norm(dim=1) - 1.0).abs() > LENGTH_TOLERANCE
    if off.any():
        raise ValueError(f"{named(off)} not of length 1: put inputs on the unit sphere first, see optim.sparse.sphere")


def check_numbers(numbers: Tensor, count: int, what: str) -> None:
    """Raise ValueError for what are no numbers (k,) int64 from 0 to count - 1."""
    if numbers.dim() != 1 or numbers.dtype != torch.int64:
        raise ValueError(
            f"{what}s are asked for by numbers (k,) int64, got {numbers.dtype} of shape {tuple(numbers.shape)}"
        )
    beyond = (numbers < 0) | (numbers >= count)
    if beyond.any():
        raise ValueError(f"there is no {what} {int(numbers[beyond][0])}: they are numbered 0 to {count - 1}")
