"""What a study and a trial may take."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from search.definition.bounds import MOST_TRIALS
from search.space.parameters import Complaint, Part, absent


class Budget(Part):
    """What a study may spend. A grid needs no `trials`: it takes its size, and never more; nor do lineages of known length."""

    trials: int | None = Field(None, ge=1, le=MOST_TRIALS, description="Trials, however they end")
    seconds: float | None = Field(None, gt=0, le=1e9, description="From the first claim, not counting pauses")
    gpu_seconds: float | None = Field(
        None,
        gt=0,
        le=1e12,
        exclude_if=absent,
        description="Seconds of devices (GPUs, or CPUs) that all attempts spend together",
    )


class Timeouts(Part):
    """When an attempt is given up, in seconds; null = never. Clients' own trials have leases instead."""

    progress: float | None = Field(
        1800.0, gt=0, le=1e9, description="Without a measurement or another sign of progress"
    )
    total: float | None = Field(None, gt=0, le=1e9, description="From the attempt's start")


class NoImprovement(Part):
    """The best completed trial has not become better while `trials` others ended."""

    trials: int = Field(ge=1, le=MOST_TRIALS, description="Ended trials in a row without an improvement")
    min_delta: float = Field(0.0, ge=0, description="Less than this, or just this, is no improvement")


class Stopping(Part):
    """When a study has found enough: it starts nothing more then, and what runs goes on to its end. The first rule counts."""

    target: float | None = Field(None, description="A completed trial whose optimized metric is this good, or better")
    no_improvement: NoImprovement | None = None
    expected_improvement_below: float | None = Field(
        None, gt=0, description="By the model's own word: its last suggestions were all expected to gain less"
    )
    patience: int = Field(5, ge=1, le=MOST_TRIALS, description="How many suggestions in a row must expect so little")

    @classmethod
    def complaints(cls, fields: Mapping[str, Any]) -> Iterator[Complaint]:
        """Want one rule at least."""
        if not any(fields.get(name) is not None for name in RULES):
            yield "target", f"is required, unless another rule is given; valid are {', '.join(RULES)}"


RULES = ("target", "no_improvement", "expected_improvement_below")
