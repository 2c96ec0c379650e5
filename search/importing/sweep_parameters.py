"""The parameters of a W&B sweep as ours.

A sweep's parameter names a distribution, or shows it by its fields: `value`, `values`, or `min` and `max`, whole for whole
numbers. Quantised ones lie on multiples of q. What has no counterpart is carried over as the nearest range and noted.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from search.definition.hygiene import join
from search.importing.findings import Findings
from search.space.parameters import WIDEST, is_number, is_whole

Made: TypeAlias = dict[str, Any]
Say: TypeAlias = Callable[[str], None]
_SIGMAS = 3  # of a normal distribution this many on each side are kept: 99.7 %


@dataclass(frozen=True, slots=True)
class _Distribution:
    """A distribution: the fields it needs, those it may have with their defaults, and what it becomes.

    `make` gets the fields and a function that notes what was lost. It raises ValueError for what cannot be, and returns
    None for what is left out.
    """

    required: tuple[str, ...]
    make: Callable[[Mapping[str, Any], Say], Made | None]
    defaults: Mapping[str, float] = field(default_factory=dict)


def read_parameters(given: object, path: str, findings: Findings) -> dict[str, Made]:
    """Return the space; nested parameters get names with dots."""
    space: dict[str, Made] = {}
    for name, item, where in _flat(given, "", path, findings):
        made = _read(item, where, findings)
        if name in space:
            findings.fault(where, f"the name {name!r} stands twice once nested names are joined with dots")
        if made is not None:
            space[name] = made
    return space


def _flat(given: object, prefix: str, path: str, findings: Findings) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    if not isinstance(given, Mapping) or not given:
        findings.fault(path, "must be an object: parameters by name, at least one")
        return
    for name, item in given.items():
        where = join(path, name)
        if not isinstance(item, Mapping):
            findings.fault(where, "must be an object, such as {values: [...]} or {min: ..., max: ...}")
        elif "parameters" in item:
            findings.note(where, f"nested parameters get names with dots: {prefix}{name}.…")
            yield from _flat(item["parameters"], f"{prefix}{name}.", join(where, "parameters"), findings)
            for other in sorted(item.keys() - {"parameters"}):
                findings.fault(join(where, other), "stands beside nested parameters, where nothing else may")
        else:
            yield f"{prefix}{name}", item, where


def _read(item: Mapping[str, Any], path: str, findings: Findings) -> Made | None:
    name = item.get("distribution", _shown_by(item))
    if name is None:
        findings.fault(path, "shows no distribution: give value, values, min and max, or distribution")
        return None
    if not isinstance(name, str) or name not in DISTRIBUTIONS:
        valid = ", ".join(DISTRIBUTIONS)
        findings.fault(join(path, "distribution"), f"unknown distribution {name!a}; valid are {valid}")
        return None
    fields = _fields(name, item, path, findings)
    if fields is None:
        return None
    try:
        made = DISTRIBUTIONS[name].make(fields, lambda message: findings.note(path, message))
    except ValueError as error:
        findings.fault(path, str(error))
        return None
    if made is not None:
        findings.checked(made, path)
    return made


def _shown_by(item: Mapping[str, Any]) -> str | None:
    if "value" in item:
        return "constant"
    if "values" in item:
        return "categorical" if "probabilities" not in item else "categorical_w_probabilities"
    if "min" in item and "max" in item:
        return "int_uniform" if is_whole(item["min"]) and is_whole(item["max"]) else "uniform"
    return None


def _fields(name: str, item: Mapping[str, Any], path: str, findings: Findings) -> dict[str, Any] | None:
    """Return the fields of a distribution, defaults filled in; None with what is wrong with them."""
    kind, before = DISTRIBUTIONS[name], len(findings.faults)
    valid = (*kind.required, *kind.defaults)
    for key in sorted(item.keys() - {"distribution", *valid}):
        findings.fault(join(path, key), f"is no field of {name}; valid are {', '.join(valid)}")
    for key in kind.required:
        if key not in item:
            findings.fault(join(path, key), f"is required by {name}")
    fields = {**kind.defaults, **{key: item[key] for key in valid if key in item}}
    for key in sorted(_NUMBERS & fields.keys()):
        if not is_number(fields[key]):
            findings.fault(join(path, key), f"must be a number, got {fields[key]!a}")
        elif key in _POSITIVE and fields[key] <= 0:
            findings.fault(join(path, key), f"must be above 0, got {fields[key]:g}")
    if len(findings.faults) == before and "min" in fields and fields["min"] > fields["max"]:
        findings.fault(join(path, "min"), f"must not be above max, got {fields['min']:g} > {fields['max']:g}")
    return fields if len(findings.faults) == before else None


_NUMBERS = frozenset({"min", "max", "q", "mu", "sigma", "a", "b"})
_POSITIVE = frozenset({"q", "sigma", "a", "b"})


def _constant(given: Mapping[str, Any], say: Say) -> Made | None:
    if isinstance(given["value"], list | Mapping):
        say("a constant list or object is no parameter here and is left out: give it to the objective by itself")
        return None
    return {"type": "categorical", "choices": [given["value"]]}


def _categorical(given: Mapping[str, Any], _: Say) -> Made:
    return {"type": "categorical", "choices": given["values"]}


def _weighted(given: Mapping[str, Any], say: Say) -> Made:
    say("probabilities are not carried over: random points take every choice equally often, and bayesian search learns")
    return _categorical(given, say)


def _range(low: float, high: float, *, log: bool = False) -> Made:
    return {"type": "float", "low": float(low), "high": float(high), **({"scale": "log"} if log else {})}


def _int_uniform(given: Mapping[str, Any], _: Say) -> Made:
    return {"type": "int", "low": given["min"], "high": given["max"]}


def _uniform(given: Mapping[str, Any], _: Say) -> Made:
    return _range(given["min"], given["max"])


def _quantised(low: float, high: float, q: float, say: Say) -> Made:
    """Return the multiples of q between the ends rounded to them, as W&B rounds what it draws."""
    ends = [round(_decimal(end) / _decimal(q)) for end in (low, high)]
    first, last = (end * _decimal(q) for end in ends)
    if (float(first), float(last)) != (low, high):
        say(f"values are rounded to multiples of {q:g}: from {float(first):g} to {float(last):g}")
    step = {"step": q} if ends[0] < ends[1] else {}
    if isinstance(q, int):
        return {"type": "int", "low": int(first), "high": int(last), **({} if q == 1 else step)}
    return {"type": "float", "low": float(first), "high": float(last), **step}


def _q_uniform(given: Mapping[str, Any], say: Say) -> Made:
    return _quantised(given["min"], given["max"], given["q"], say)


def _log_values(given: Mapping[str, Any], _: Say) -> Made:
    return _range(given["min"], given["max"], log=True)


def _log_uniform(given: Mapping[str, Any], _: Say) -> Made:
    return _range(_power(given["min"]), _power(given["max"]), log=True)


def _inverse(given: Mapping[str, Any], _: Say) -> Made:
    return _range(_power(-given["max"]), _power(-given["min"]), log=True)


def _q_log(low: float, high: float, q: float, say: Say) -> Made:
    if q == 1:
        return {"type": "int", "low": max(1, round(low)), "high": max(1, round(high)), "scale": "log"}
    say(f"multiples of {q:g} on a log scale have no counterpart: every value of the range may come, unrounded")
    return _range(low, high, log=True)


def _q_log_values(given: Mapping[str, Any], say: Say) -> Made:
    return _q_log(given["min"], given["max"], given["q"], say)


def _q_log_uniform(given: Mapping[str, Any], say: Say) -> Made:
    return _q_log(_power(given["min"]), _power(given["max"]), given["q"], say)


def _spread(given: Mapping[str, Any], say: Say) -> tuple[float, float]:
    say(f"a normal distribution has no counterpart: its range within {_SIGMAS} sigma of mu is searched evenly")
    return given["mu"] - _SIGMAS * given["sigma"], given["mu"] + _SIGMAS * given["sigma"]


def _normal(given: Mapping[str, Any], say: Say) -> Made:
    return _range(*_spread(given, say))


def _q_normal(given: Mapping[str, Any], say: Say) -> Made:
    return _quantised(*_spread(given, say), given["q"], say)


def _log_normal(given: Mapping[str, Any], say: Say) -> Made:
    return _range(*map(_power, _spread(given, say)), log=True)


def _q_log_normal(given: Mapping[str, Any], say: Say) -> Made:
    low, high = map(_power, _spread(given, say))
    return _q_log(low, high, given["q"], say)


def _beta(given: Mapping[str, Any], say: Say) -> Made:
    if (given["a"], given["b"]) != (1, 1):
        say("a beta distribution has no counterpart: the range from 0 to 1 is searched evenly")
    return _range(0.0, 1.0)


def _q_beta(given: Mapping[str, Any], say: Say) -> Made:
    _beta(given, say)
    return _quantised(0.0, 1.0, given["q"], say)


def _power(exponent: float) -> float:
    if abs(exponent) > math.log(WIDEST):
        raise ValueError(
            f"the exponent {exponent:g} is too large; log_uniform takes exponents, log_uniform_values the values themselves"
        )
    return math.exp(exponent)


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))


_RANGE = ("min", "max")
_Q, _MU, _AB = {"q": 1}, {"mu": 0.0, "sigma": 1.0}, {"a": 1.0, "b": 1.0}
DISTRIBUTIONS: Mapping[str, _Distribution] = {
    "constant": _Distribution(("value",), _constant),
    "categorical": _Distribution(("values",), _categorical),
    "categorical_w_probabilities": _Distribution(("values", "probabilities"), _weighted),
    "int_uniform": _Distribution(_RANGE, _int_uniform),
    "uniform": _Distribution(_RANGE, _uniform),
    "q_uniform": _Distribution(_RANGE, _q_uniform, _Q),
    "log_uniform": _Distribution(_RANGE, _log_uniform),
    "log_uniform_values": _Distribution(_RANGE, _log_values),
    "inv_log_uniform": _Distribution(_RANGE, _inverse),
    "inv_log_uniform_values": _Distribution(_RANGE, _log_values),
    "q_log_uniform": _Distribution(_RANGE, _q_log_uniform, _Q),
    "q_log_uniform_values": _Distribution(_RANGE, _q_log_values, _Q),
    "normal": _Distribution((), _normal, _MU),
    "q_normal": _Distribution((), _q_normal, _MU | _Q),
    "log_normal": _Distribution((), _log_normal, _MU),
    "q_log_normal": _Distribution((), _q_log_normal, _MU | _Q),
    "beta": _Distribution((), _beta, _AB),
    "q_beta": _Distribution((), _q_beta, _AB | _Q),
}
