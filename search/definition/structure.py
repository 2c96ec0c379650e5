"""Read one part of a definition with pydantic, and say what is wrong with it in our own words.

Each part is read by itself, so that one that fails does not hide the faults of the others. Where a part comes in kinds
(`{"strategy": "grid"}`), pydantic puts the kind into its error locations; it is taken out again here, so that a path
names only what the user wrote.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from search.definition.hygiene import join
from search.definition.kinds import NO_KIND, OBJECTIVES, AnyObjective, Measurement, RecipeObjective, Target
from search.definition.limits import Budget, NoImprovement, Stopping, Timeouts
from search.definition.metrics import Metric
from search.definition.networks import NETWORKS, AnyNetwork
from search.definition.prunings import COMPARING, PRUNINGS, AnyPruning, PatiencePruning
from search.definition.schema import AnyParameter, StudyDefinition
from search.definition.searches import STRATEGIES, AnySearch
from search.definition.starts import Fingerprint, WarmStart
from search.definition.uses import USE_FORMS
from search.definition.verdicts import Verdict
from search.errors import Fault
from search.space.constraints import Constraint
from search.space.parameters import PARAMETERS, Faulty, FixedParameter, Part


@dataclass(frozen=True, slots=True)
class Shape:
    """How to read a part: its adapter, its model if it has one, and its models by kind if it comes in kinds."""

    adapter: TypeAdapter[Any]
    model: type[BaseModel] | None = None
    kinds: Mapping[str, type[BaseModel]] = field(default_factory=dict)


def _shape(name: str) -> Shape:
    """Take the shape of a plain top-level field, limits included, from the model of the whole."""
    annotation = StudyDefinition.model_fields[name].rebuild_annotation()
    return Shape(TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False)))


PARAMETER = Shape(TypeAdapter(AnyParameter), kinds=PARAMETERS)
METRIC = Shape(TypeAdapter(Metric), Metric)
CONSTRAINT = Shape(TypeAdapter(Constraint), Constraint)
NETWORK = Shape(TypeAdapter(AnyNetwork), kinds=NETWORKS)
# The top-level fields that are read in one piece.
SHAPES: Mapping[str, Shape] = {
    "objective": Shape(TypeAdapter(AnyObjective), kinds=OBJECTIVES),
    "search": Shape(TypeAdapter(AnySearch), kinds=STRATEGIES),
    "pruning": Shape(TypeAdapter(AnyPruning | None), kinds=PRUNINGS),
    "budget": Shape(TypeAdapter(Budget), Budget),
    "stopping": Shape(TypeAdapter(Stopping | None), Stopping),
    "timeouts": Shape(TypeAdapter(Timeouts), Timeouts),
    "warm_start": Shape(TypeAdapter(WarmStart), WarmStart),
    "fingerprint": Shape(TypeAdapter(Fingerprint | None), Fingerprint),
    "verdict": Shape(TypeAdapter(Verdict | None), Verdict),
    **{
        name: _shape(name)
        for name in (
            "name",
            "parallelism",
            "labels",
            "report",
            "execution",
            "max_failed",
            "start_from_default",
            "reuse",
        )
    },
}
# Where a word stands for a whole part.
WORDS: Mapping[str, Shape] = {"warm_start": Shape(TypeAdapter(Literal["auto", "off"]))}


def shape_of(name: str, raw: object) -> Shape:
    """Return how to read a top-level field that is given like this."""
    return WORDS[name] if name in WORDS and isinstance(raw, str) else SHAPES[name]


@dataclass(frozen=True, slots=True)
class Inner:
    """A part within a part: under which field, and its model, or its models by kind; one of many if it is `listed`."""

    name: str
    model: type[BaseModel] | None = None
    kinds: Mapping[str, type[BaseModel] | None] = field(default_factory=dict)
    listed: bool = False


_INNER: Mapping[type[BaseModel], tuple[Inner, ...]] = {
    RecipeObjective: (
        Inner("network", kinds=NETWORKS),
        Inner("measured", Measurement),
        Inner("curvature", kinds=USE_FORMS, listed=True),
    ),
    Measurement: (Inner("target", Target),),
    PatiencePruning: (Inner("rule", kinds=COMPARING),),
    Stopping: (Inner("no_improvement", NoImprovement),),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """A part that was read. With faults, `value` is what could be saved of a parameter, or None."""

    value: Any
    faults: list[Fault]


def read(shape: Shape, raw: object, path: str) -> Reading:
    """Read one part and translate all that is wrong with it."""
    try:
        return Reading(shape.adapter.validate_python(raw), [])
    except ValidationError as wrong:
        return Reading(None, [fault for error in _errors(wrong) for fault in _translate(error, shape, path)])


def read_parameter(raw: object, path: str) -> Reading:
    """Read a parameter. One with faults is saved with null for what could not be read, so that the rest is checked."""
    shape = PARAMETER
    try:
        return Reading(shape.adapter.validate_python(raw), [])
    except ValidationError as wrong:
        errors = _errors(wrong)
    faults = [fault for error in errors for fault in _translate(error, shape, path)]
    kind = raw.get("type") if isinstance(raw, Mapping) else None
    model = PARAMETERS.get(kind) if isinstance(kind, str) else None
    # Of a fixed value that could not be read nothing is left.
    if model in {None, FixedParameter} or not isinstance(raw, Mapping):
        return Reading(None, faults)
    bad = {str(error["loc"][1]) for error in errors if len(error["loc"]) > 1}
    good = {name: raw.get(name) for name in model.model_fields if name not in bad}
    faults += _contradictions(model, good, bad, path)
    saved: dict[str, Any] = dict.fromkeys(model.model_fields) | good
    return Reading(model.model_construct(None, **saved), faults)


def read_constraint(raw: object, path: str) -> Reading:
    """Read a constraint. One with faults is None, and what could be read of it was checked all the same."""
    try:
        return Reading(CONSTRAINT.adapter.validate_python(raw), [])
    except ValidationError as wrong:
        errors = _errors(wrong)
    faults = [fault for error in errors for fault in _translate(error, CONSTRAINT, path)]
    if isinstance(raw, Mapping):
        bad = {str(error["loc"][0]) for error in errors if error["loc"]}
        good = {name: raw.get(name) for name in Constraint.model_fields if name not in bad}
        faults += _contradictions(Constraint, good, bad, path)
    return Reading(None, faults)


def _contradictions(model: type[Part], good: Mapping[str, Any], bad: set[str], path: str) -> list[Fault]:
    """Say what contradicts what among the well-formed fields; where all are, the model's own check has said it."""
    return [Fault(f"{path}.{where}", message) for where, message in model.complaints(good)] if bad else []


def _errors(wrong: ValidationError) -> list[ErrorDetails]:
    """Return what is wrong, without that a list is too short whose entries are enough and wrong."""
    return [
        error
        for error in wrong.errors(include_url=False)
        if error["type"] != "too_short" or len(error["input"]) < error["ctx"]["min_length"]
    ]


def _translate(error: ErrorDetails, shape: Shape, path: str) -> list[Fault]:
    model, loc = shape.model, list(error["loc"])
    if shape.kinds and loc and loc[0] in shape.kinds:
        model = shape.kinds[str(loc.pop(0))]
    model, loc = _innermost(model, loc)
    for step in loc:
        path = join(path, step)
    if error["type"].startswith("union_tag_"):
        return [_unknown_kind(error, path)]
    reason = error.get("ctx", {}).get("error")
    if isinstance(reason, Faulty):
        return [Fault(f"{path}.{where}", message) for where, message in reason.complaints]
    if error["type"] == "extra_forbidden" and model is not None:
        return [Fault(path, f"there is no such field here; valid are {', '.join(model.model_fields)}")]
    say = _MESSAGES.get(error["type"])
    return [Fault(path, say(error) if say else error["msg"])]


def _innermost(model: type[BaseModel] | None, loc: list[int | str]) -> tuple[type[BaseModel] | None, list[int | str]]:
    """Return the model that the last step of a location is a field of, and the location without kinds, which are no steps."""
    for place, step in enumerate(loc[:-1]):
        inner = next((each for each in _INNER.get(model, ()) if each.name == step), None) if model is not None else None
        at = place + 2 if inner is not None and inner.listed else place + 1
        if inner is None or at >= len(loc):
            break
        model = inner.kinds[str(loc[at])] if inner.kinds else inner.model
        if inner.kinds:
            return model, [*loc[:at], *loc[at + 1 :]]
    return model, loc


def _unknown_kind(error: ErrorDetails, path: str) -> Fault:
    context = error.get("ctx", {})
    tag = str(context["discriminator"]).strip("'")
    where = join(path, tag)
    if error["type"] == "union_tag_not_found":
        given = error["input"]
        if not isinstance(given, Mapping):
            return Fault(path, _MESSAGES["dict_type"](error))
        return Fault(where, "is required")
    valid = str(context["expected_tags"]).replace("'", "")
    return Fault(where, f"unknown {tag} {_show(context['tag'])}; valid are {valid}")


def _show(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _no_kind(error: ErrorDetails) -> str:
    given = error["input"]
    if not isinstance(given, Mapping):
        return _MESSAGES["dict_type"](error)
    got = ", ".join(kind for kind in OBJECTIVES if kind in given) or "none"
    return f"must have exactly one of {', '.join(OBJECTIVES)}, got {got}"


def _must(what: str) -> Callable[[ErrorDetails], str]:
    return lambda error: f"must be {what}, got {_show(error['input'])}"


def _limit(what: str, limit: str) -> Callable[[ErrorDetails], str]:
    return lambda error: f"must be {what} {error['ctx'][limit]:g}, got {_show(error['input'])}"


def _one_of(error: ErrorDetails) -> str:
    valid = str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
    return f"unknown value {_show(error['input'])}; valid are {valid}"


def _length(what: str, limit: str) -> Callable[[ErrorDetails], str]:
    def say(error: ErrorDetails) -> str:
        size = error["ctx"][limit]
        return "must not be empty" if (what, size) == ("at least", 1) else f"must have {what} {size} items"

    return say


_MESSAGES: Mapping[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda _: "is required",
    NO_KIND: _no_kind,
    "literal_error": _one_of,
    "float_type": _must("a number"),
    "finite_number": _must("a finite number"),
    "bool_type": _must("true or false"),
    "int_type": _must("a whole number"),
    "string_type": _must("a string"),
    "string_too_short": lambda _: "must not be empty",
    "string_pattern_mismatch": lambda _: "must not be blank",
    "string_too_long": lambda error: f"must have at most {error['ctx']['max_length']} characters",
    "dict_type": _must("an object"),
    "model_type": _must("an object"),
    "model_attributes_type": _must("an object"),
    "tuple_type": _must("a list"),
    "greater_than": _limit("above", "gt"),
    "greater_than_equal": _limit("at least", "ge"),
    "less_than": _limit("below", "lt"),
    "less_than_equal": _limit("at most", "le"),
    "too_short": _length("at least", "min_length"),
    "too_long": _length("at most", "max_length"),
}
