"""What an importer has to say about what it read: what it could not carry over, and what is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search.definition.structure import read_parameter
from search.errors import Fault


@dataclass(frozen=True, slots=True)
class Note:
    """Something that was not carried over as it stood: where it was, what became of it and why."""

    path: str
    message: str


@dataclass(slots=True)
class Findings:
    """Notes and faults, in the order in which they were found."""

    notes: list[Note] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def note(self, path: str, message: str) -> None:
        self.notes.append(Note(path, message))

    def fault(self, path: str, message: str) -> None:
        self.faults.append(Fault(path, message))

    def checked(self, made: Mapping[str, Any], path: str) -> None:
        """Add what is wrong with a parameter that was made of what stands at `path`."""
        self.faults += read_parameter(made, path).faults

    def assume(
        self, skeleton: dict[str, Any], given: Mapping[str, Any], name: str, value: object, path: str, why: str
    ) -> None:
        """Put a value of our own into the definition and say so, unless the importer's caller brings one."""
        if name not in given:
            skeleton[name] = value
            self.note(path, why)
