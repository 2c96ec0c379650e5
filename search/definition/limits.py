"""What a study and a trial may take."""

from pydantic import Field

from search.definition.bounds import MOST_TRIALS
from search.space.parameters import Part


class Budget(Part):
    """What a study may spend. A grid needs no `trials`: it takes its size, and never more."""

    trials: int | None = Field(None, ge=1, le=MOST_TRIALS, description="Trials, however they end")
    seconds: float | None = Field(None, gt=0, le=1e9, description="From the first claim, not counting pauses")


class Timeouts(Part):
    """When an attempt is given up, in seconds; null = never. Clients' own trials have leases instead."""

    progress: float | None = Field(
        1800.0, gt=0, le=1e9, description="Without a measurement or another sign of progress"
    )
    total: float | None = Field(None, gt=0, le=1e9, description="From the attempt's start")
