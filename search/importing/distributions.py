"""Optuna's distributions: a mapping from names to what `optuna.distributions.distribution_to_json` writes.

The class with its attributes, old names of classes included, or Optuna's short form {"type": "float", "low": ...}. An
entry may be the JSON text itself. Distributions say nothing of metrics, strategy or budget: those are assumed and noted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from search.definition.hygiene import join
from search.importing.findings import Findings

Attributes: TypeAlias = Mapping[str, Any]
TRIALS = 100


@dataclass(frozen=True, slots=True)
class _Class:
    """A class of distributions: what it must say, what it may say besides, and the parameter that it is."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    make: Callable[[Attributes], dict[str, Any]]


def _number(kind: str, *, log: bool | None = None, step: str = "step") -> Callable[[Attributes], dict[str, Any]]:
    """Make a number; `log` None: as the attributes say."""

    def make(given: Attributes) -> dict[str, Any]:
        made = {"type": kind, "low": given["low"], "high": given["high"]}
        if log is True or (log is None and given.get("log") is True):
            made["scale"] = "log"
        # An int of Optuna's always has a step; 1 is none, and on a log scale it has to be 1.
        if given.get(step) is not None and not (kind == "int" and given[step] == 1):
            made["step"] = given[step]
        return made

    return make


def _categorical(given: Attributes) -> dict[str, Any]:
    return {"type": "categorical", "choices": given["choices"]}


_BOUNDS = ("low", "high")
CLASSES: Mapping[str, _Class] = {
    "FloatDistribution": _Class(_BOUNDS, ("log", "step"), _number("float")),
    "IntDistribution": _Class(_BOUNDS, ("log", "step"), _number("int")),
    "CategoricalDistribution": _Class(("choices",), (), _categorical),
    "UniformDistribution": _Class(_BOUNDS, (), _number("float", log=False)),
    "LogUniformDistribution": _Class(_BOUNDS, (), _number("float", log=True)),
    "DiscreteUniformDistribution": _Class((*_BOUNDS, "q"), (), _number("float", log=False, step="q")),
    "IntUniformDistribution": _Class(_BOUNDS, ("step",), _number("int", log=False)),
    "IntLogUniformDistribution": _Class(_BOUNDS, ("step",), _number("int", log=True)),
}
SHORT: Mapping[str, str] = {
    "float": "FloatDistribution",
    "int": "IntDistribution",
    "categorical": "CategoricalDistribution",
}


def read_distributions(source: object, given: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    """Return the skeleton of a definition; `given` are the fields that the caller brings."""
    skeleton: dict[str, Any] = {"name": "imported from Optuna", "objective": {"external": True}}
    if not isinstance(source, Mapping) or not source:
        findings.fault("source", "must be an object: distributions by the names of parameters, at least one")
        return skeleton
    space = {name: _read(item, join("source", name), findings) for name, item in source.items()}
    skeleton["space"] = {name: made for name, made in space.items() if made is not None}
    for name, value, what in (
        ("metrics", [{"name": "value", "goal": "minimize"}], "no metric: `value`, minimized, is assumed"),
        ("search", {"strategy": "bayesian"}, "no strategy: bayesian is assumed"),
        ("budget", {"trials": TRIALS}, f"no number of trials: {TRIALS} are assumed"),
    ):
        findings.assume(skeleton, given, name, value, "source", f"distributions name {what}; give `{name}` in `study`")
    return skeleton


def _read(item: object, path: str, findings: Findings) -> dict[str, Any] | None:
    named = _class_of(item, path, findings)
    if named is None:
        return None
    kind, attributes, where = named
    strange = [name for name in attributes if name not in kind.required + kind.optional]
    missing = [name for name in kind.required if name not in attributes]
    for name in strange:
        valid = ", ".join(kind.required + kind.optional)
        findings.fault(join(where, name), f"there is no such attribute; valid are {valid}")
    for name in missing:
        findings.fault(join(where, name), "is required")
    if strange or missing:
        return None
    made = kind.make(attributes)
    findings.checked(made, where)
    return made


def _class_of(item: object, path: str, findings: Findings) -> tuple[_Class, Attributes, str] | None:
    """Return the class, its attributes and where they stand."""
    if not isinstance(item, Mapping) or not ("name" in item or "type" in item):
        findings.fault(path, 'must be a distribution: {"name": ..., "attributes": {...}} or {"type": ..., ...}')
        return None
    short = "name" not in item
    field, valid = ("type", SHORT) if short else ("name", CLASSES)
    name = item[field]
    if not isinstance(name, str) or name not in valid:
        findings.fault(join(path, field), f"unknown distribution {name!a}; valid are {', '.join(valid)}")
        return None
    if short:
        return CLASSES[SHORT[name]], {key: value for key, value in item.items() if key != "type"}, path
    attributes = item.get("attributes")
    if not isinstance(attributes, Mapping):
        findings.fault(join(path, "attributes"), "must be an object")
        return None
    return CLASSES[name], attributes, join(path, "attributes")
