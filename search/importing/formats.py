"""What other systems' searches can be read from, and how one becomes a study definition."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from search.definition.parse import parse_study
from search.errors import InvalidStudy
from search.importing.distributions import read_distributions
from search.importing.findings import Findings, Note
from search.importing.sweeps import read_sweep

Importer: TypeAlias = Callable[[object, Mapping[str, Any], Findings], dict[str, Any]]
FORMATS: Mapping[str, Importer] = {"optuna": read_distributions, "wandb": read_sweep}


@dataclass(frozen=True, slots=True)
class Imported:
    """A definition that can be posted as it stands, and all that is not in it as it was in the source."""

    definition: dict[str, Any]
    notes: tuple[Note, ...]


def translate(name: str, source: object, study: Mapping[str, Any]) -> Imported:
    """Make a definition of a source in a known format; fields of `study` replace those found, parameters one by one.

    Raise InvalidStudy with every fault of the source, or else every one of the definition that came out.
    """
    findings = Findings()
    skeleton = FORMATS[name](source, study, findings)
    if findings.faults:
        raise InvalidStudy(findings.faults)
    definition = {**skeleton, **study}
    if isinstance(study.get("space"), Mapping):
        definition["space"] = _merged(skeleton["space"], study["space"])
    parse_study(definition)
    return Imported(definition, tuple(findings.notes))


def _merged(found: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Replace parameters; null takes one away."""
    return {name: value for name, value in {**found, **given}.items() if value is not None}
