"""What a study starts from: its default point, the best points of earlier studies, or an earlier study as a whole."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from search.definition.hygiene import LONGEST_NAME
from search.errors import Fault
from search.space.parameters import Part

MOST_STUDIES = 20
MOST_STARTS = 100
OFF: Literal["off"] = "off"
AUTO: Literal["auto"] = "auto"
AUTO_TRIALS = 5  # how many points `auto` takes over, at most
Identity: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r"\S")]


class Fingerprint(Part):
    """What a client says of its network and its data, in words of its own such as a digest; equal words, equal things."""

    network: Identity
    data: Identity


class WarmStart(Part):
    """The best points of these studies of the project are tried first."""

    studies: Annotated[tuple[Identity, ...], Field(strict=False, min_length=1, max_length=MOST_STUDIES)] = Field(
        description="Ids; points come from the most similar one first"
    )
    trials: int = Field(
        AUTO_TRIALS, ge=1, le=MOST_STARTS, description="How many distinct points at most, over all of them"
    )


AnyWarmStart: TypeAlias = Literal["auto", "off"] | WarmStart


def start_faults(parts: Mapping[str, Any], *, grid: bool, optimized: int | None = 1) -> list[Fault]:
    """Check what a study starts from against the rest of it, as far as that could be read; `optimized` is how many metrics are."""
    faults = []
    if parts.get("start_from_default") and grid:
        message = "is for strategies that draw: a grid holds the default point or does not; leave it out"
        faults.append(Fault("start_from_default", message))
    if parts.get("reuse") and parts.get("fingerprint") is None:
        message = "is required by reuse: only who says what was trained, and on what, can be given an earlier result"
        faults.append(Fault("fingerprint", message))
    warm = parts.get("warm_start")
    if warm not in {None, OFF} and optimized is not None and optimized > 1:
        message = "takes over the best points, and of several optimized metrics none is the best: leave it out"
        faults.append(Fault("warm_start", message))
    if isinstance(warm, WarmStart):
        faults += [
            Fault(f"warm_start.studies[{place}]", "is listed already; name a study once")
            for place, name in enumerate(warm.studies)
            if name in warm.studies[:place]
        ]
    return faults
