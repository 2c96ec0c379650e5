"""How long intervals warm up and grow: in steps, or as a share of all steps of a training, which become steps here.

    interval_warmup = ceil(interval_warmup_share * total_steps), and interval_ramp likewise

Rules know steps alone, so this is done once, where a training's length is known (as for the warm-up of learning rates, see
`optim.warmups`).
"""

from collections.abc import Mapping
from typing import Any

from ..catalog import SHARES
from ..warmups import warmup_steps


def in_steps(options: Mapping[str, Any], total_steps: int | None) -> dict[str, Any]:
    """Return a method's options with every length in steps, and shares of 0; those of others as they are.

    Raise ValueError for a length that is given in both ways, and for a share where `total_steps` is None or below 1.
    """
    if total_steps is not None and (type(total_steps) is not int or total_steps < 1):
        raise ValueError(f"total_steps must be a whole number of at least 1, got {total_steps!r}")
    found = dict(options)
    for steps, share in SHARES.items():
        if not options.get(share):
            continue
        if options.get(steps):
            raise ValueError(
                f"{steps} and {share}: give the length in steps or as a share of all steps, not both; the other one must be 0"
            )
        if total_steps is None:
            raise ValueError(
                f"{share}: is a share of all steps: say how many there are, total_steps=..., or give {steps}"
            )
        found |= {steps: int(warmup_steps(total_steps, options[share])), share: 0.0}
    return found


def shares(options: Mapping[str, Any]) -> list[str]:
    """Return the names of lengths that are given as shares."""
    return [share for share in SHARES.values() if options.get(share)]
