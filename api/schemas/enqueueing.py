"""Trials that a person gives a study, and the verdict that a study ends with."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from api.schemas.remote import Values, further
from api.schemas.trials import TrialRow
from models.states import TrialState
from search.analysis.verdict import Sample
from search.definition.hygiene import LONGEST_NAME, MOST_ITEMS, clean
from search.definition.structure import Shape, read
from search.errors import InvalidValue
from search.space.parameters import Part
from search.studies.enqueueing import Given
from search.studies.verdicts import Configuration, VerdictView


class GivenTrialIn(Part):
    """A point to try, or with `state` or `values` a finished trial to take in."""

    params: dict[str, Any] = Field(
        description="Each parameter whose condition holds, and nothing else; what is fixed or derived may be left out"
    )
    state: Literal["queued", "completed", "pruned", "diverged"] | None = Field(
        None, description="Absent = completed where there are values, else queued: it is run"
    )
    values: Values | None = Field(None, description="Of a completed or pruned trial: finite numbers by metric")
    reason: str | None = Field(None, min_length=1, max_length=LONGEST_NAME, description="Where it is from, for people")


class GivenTrialsIn(Part):
    """Trials for a study, stored all or none."""

    trials: list[GivenTrialIn] = Field(min_length=1, max_length=MOST_ITEMS)


class GivenTrialsOut(BaseModel):
    """The trials as they are stored, in the order given."""

    data: list[TrialRow]


_WHOLE = Shape(TypeAdapter(GivenTrialsIn), GivenTrialsIn)
_ITEM = Shape(TypeAdapter(GivenTrialIn), GivenTrialIn)


def read_given(raw: object) -> list[Given]:
    """Read trials for a study. Raise InvalidValue with every fault of their form."""
    value, unclean = clean(raw)
    items = value.get("trials") if isinstance(value, Mapping) else None
    # One by one, so that each is told which fields are its own.
    nested = [
        fault
        for place, item in enumerate(items if isinstance(items, list) else [])
        for fault in read(_ITEM, item, f"trials[{place}]").faults
    ]
    reading = read(_WHOLE, value, "")
    faults = further(unclean, further(nested, reading.faults))
    if faults:
        raise InvalidValue(faults)
    body: GivenTrialsIn = reading.value
    return [_given(item) for item in body.trials]


def _given(item: GivenTrialIn) -> Given:
    implied = "queued" if item.values is None else "completed"
    return Given(item.params, TrialState(item.state or implied), item.values, item.reason)


class ConfigurationOut(BaseModel):
    """A configuration that was run again, and its replicates.

    `trial` is the number of the search's trial that it comes from; null for a baseline that the search did not try.
    """

    trial: int | None
    params: dict[str, Any]
    values: Annotated[list[float], Field(description="The optimized metric of each replicate that completed")]
    mean: float | None
    diverged: Annotated[int, Field(description="Replicates that diverged or broke a constraint")]
    missing: Annotated[int, Field(description="Replicates that failed or were cancelled")]


class VerdictOut(BaseModel):
    """Whether the winner is better than the baseline, by the runs on fresh seeds alone.

    `difference` is winner minus baseline in units of `metric`; each bound of `interval` holds with `confidence`, and 0
    lies outside exactly where the two can be told apart.
    """

    verdict: Literal["improved", "not distinguishable", "worse"]
    reason: str
    metric: str
    goal: Literal["minimize", "maximize"]
    difference: float | None
    interval: tuple[float, float] | None
    confidence: float
    replicates: Annotated[int, Field(description="Runs of each configuration, at least")]
    winner: ConfigurationOut | None
    baseline: ConfigurationOut
    finalists: list[ConfigurationOut]


def verdict_out(view: VerdictView) -> VerdictOut:
    """Show a verdict."""
    judgement = view.judgement
    finalists = [_configuration_out(each) for each in view.finalists]
    return VerdictOut(
        verdict=judgement.verdict,
        reason=judgement.reason,
        metric=view.metric.name,
        goal=view.metric.goal,
        difference=judgement.difference,
        interval=judgement.interval,
        confidence=view.asked.confidence,
        replicates=view.asked.replicates,
        winner=finalists[judgement.winner] if judgement.winner is not None else None,
        baseline=_configuration_out(view.baseline),
        finalists=finalists,
    )


def _configuration_out(made: Configuration) -> ConfigurationOut:
    return ConfigurationOut(
        trial=made.trial,
        params=dict(made.params),
        values=list(made.values),
        mean=Sample(made.values).mean,
        diverged=made.diverged,
        missing=made.missing,
    )
