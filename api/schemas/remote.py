"""The bodies and replies of trials that are asked for, measured and told over HTTP."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, TypeAdapter

from api.schemas.trials import TrialOut, trial_out
from models.states import StudyState, TrialState
from search.definition.hygiene import LONGEST_NAME, MOST_ENTRIES, MOST_ITEMS, beneath, clean, escaped
from search.definition.structure import Shape, read
from search.errors import Fault, InvalidValue
from search.records import Measurement
from search.space.parameters import Part
from search.trials.asking import Ask, Leased, Offer
from search.trials.remote import Tell

MOST_ASKED = 1000
LONGEST_LEASE = 86_400
LONGEST_REASON = 65_536
LAST_STEP = 2**53

Token = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, description="The one that came with the trial")]
Values = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)], float],
    Field(min_length=1, max_length=MOST_ENTRIES, description="Finite numbers by metric"),
]
Reason = Annotated[str | None, Field(max_length=LONGEST_REASON)]
P = TypeVar("P", bound=Part)


class AskIn(Part):
    """How many trials a client wants. All may be left out, and so may the body."""

    client_id: str | None = Field(
        None,
        min_length=1,
        max_length=LONGEST_NAME,
        description="Who asks; made up where it is left out. Trials that this client holds already come first",
    )
    count: int = Field(1, ge=1, le=MOST_ASKED, description="How many trials at most")
    lease_seconds: float | None = Field(
        None,
        ge=1,
        le=LONGEST_LEASE,
        description="How long it may keep silent before a trial is given to another; the service's own time if left out",
    )


class TellIn(Part):
    """What came out of a trial."""

    token: Token
    state: Literal["completed", "diverged", "failed"] = "completed"
    values: Values | None = Field(
        None, description="Those of a completed trial; where left out, those of its measurements stand"
    )
    reason: Reason = Field(None, description="Why it diverged or failed: a line, or a traceback")


class MeasurementIn(Part):
    """What a trial reports at one step."""

    step: int = Field(ge=0, le=LAST_STEP)
    values: Values


class MeasurementsIn(Part):
    """Measurements of a trial; without any, only its lease is renewed."""

    token: Token
    measurements: list[MeasurementIn] = Field([], max_length=MOST_ITEMS)


class ReleaseIn(Part):
    """Why a trial is given back."""

    token: Token
    reason: str | None = Field(None, min_length=1, max_length=LONGEST_NAME)


BODIES: tuple[type[Part], ...] = (AskIn, TellIn, MeasurementsIn, ReleaseIn)
_MODELS: tuple[type[Part], ...] = (*BODIES, MeasurementIn)
_SHAPES: Mapping[type[Part], Shape] = {model: Shape(TypeAdapter(model), model) for model in _MODELS}


class LeasedTrialOut(TrialOut):
    """A trial to run. Every word about it carries the token; after `lease_expires_at` without one it is lost.

    One that was promoted goes on after its `waiting_step`: from the client's own checkpoint, if it has kept one.
    One with a `parent` begins where that one ended: from the checkpoint that its client has kept.
    """

    token: str
    lease_expires_at: datetime


class AskOut(BaseModel):
    """The trials that a client holds now; without any there is nothing to do for the moment, or any more."""

    client_id: str
    study_state: StudyState
    data: list[LeasedTrialOut]


class RenewalOut(BaseModel):
    """What became of measurements, and whether to go on."""

    accepted: bool
    should_stop: bool
    reason: str | None
    lease_expires_at: datetime


def read_ask(raw: object, client: str) -> Ask:
    """Read who asks for what; `client` stands in for one that gives no name. Raise InvalidValue with every fault."""
    body = _read(AskIn, raw)
    return Ask(body.client_id or client, body.count, body.lease_seconds)


def read_tell(raw: object) -> Tell:
    """Read a result. Raise InvalidValue with every fault; of a reason only its length is one."""
    reason = raw.get("reason") if isinstance(raw, Mapping) else None
    if isinstance(raw, Mapping) and isinstance(reason, str):
        # A traceback has line ends, and may have anything else: it is kept readable rather than refused.
        raw = {name: value for name, value in raw.items() if name != "reason"}
        body = _read(TellIn, raw, {"reason": escaped(reason)})
    else:
        body = _read(TellIn, raw)
    return Tell(body.token, TrialState(body.state), body.values, body.reason)


def read_measurements(raw: object) -> tuple[str, list[Measurement]]:
    """Read a token and measurements. Raise InvalidValue with every fault."""
    body = _read(MeasurementsIn, raw)
    faults = _doubled_steps(body.measurements)
    if faults:
        raise InvalidValue(faults)
    return body.token, [Measurement(item.step, item.values) for item in body.measurements]


def _doubled_steps(items: Sequence[MeasurementIn]) -> list[Fault]:
    first: dict[int, int] = {}
    return [
        Fault(f"measurements[{place}].step", f"is that of measurements[{first[item.step]}] already; give a step once")
        for place, item in enumerate(items)
        if first.setdefault(item.step, place) != place
    ]


def read_release(raw: object) -> tuple[str, str | None]:
    """Read a token and a reason. Raise InvalidValue with every fault."""
    body = _read(ReleaseIn, raw)
    return body.token, body.reason


def _read(model: type[P], raw: object, besides: Mapping[str, Any] | None = None) -> P:
    value, unclean = clean(raw)
    if besides and isinstance(value, dict):
        value = {**value, **besides}
    reading = read(_SHAPES[model], value, "")
    faults = further(unclean, further(_nested(value), reading.faults))
    if faults:
        raise InvalidValue(faults)
    made: P = reading.value
    return made


def further(known: list[Fault], more: list[Fault]) -> list[Fault]:
    """Add faults to those known, but none of the same fields: what was faulty is left out of what is read next."""
    paths = frozenset(fault.path for fault in known)
    return known + [
        fault
        for fault in more
        if not beneath(fault.path, paths) and not any(beneath(path, frozenset({fault.path})) for path in paths)
    ]


def _nested(value: object) -> list[Fault]:
    """Read the measurements one by one, so that each is told which fields are its own."""
    items = value.get("measurements") if isinstance(value, Mapping) else None
    if not isinstance(items, list):
        return []
    return [
        fault
        for place, item in enumerate(items)
        for fault in read(_SHAPES[MeasurementIn], item, f"measurements[{place}]").faults
    ]


def leased_out(leased: Leased, *, now: datetime, lease_seconds: float) -> LeasedTrialOut:
    """Show a trial that was given to a client."""
    return LeasedTrialOut(
        **trial_out(leased.record).model_dump(),
        token=leased.token,
        lease_expires_at=expiry(leased.seconds, now=now, lease_seconds=lease_seconds),
    )


def ask_out(client: str, offer: Offer, *, now: datetime, lease_seconds: float) -> AskOut:
    """Show what a client was given."""
    data = [leased_out(leased, now=now, lease_seconds=lease_seconds) for leased in offer.trials]
    return AskOut(client_id=client, study_state=StudyState(offer.study_state), data=data)


def expiry(seconds: float | None, *, now: datetime, lease_seconds: float) -> datetime:
    """Return until when a lease of that length (None: the deployment's) lasts without another word."""
    return now + timedelta(seconds=seconds or lease_seconds)
