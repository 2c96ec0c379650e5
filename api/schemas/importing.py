"""The body and reply of an import."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, WithJsonSchema

from api.schemas.studies import StudyOut, study_out
from search.definition.hygiene import beneath, clean
from search.definition.structure import Shape, read
from search.errors import Fault, InvalidValue
from search.importing.formats import Imported
from search.importing.text import read_entries, read_text
from search.records import StudyView
from search.space.parameters import Part


class ImportIn(Part):
    """Another system's search, and what to change of the study that it becomes."""

    format: Literal["optuna", "wandb"] = Field(description="Whose it is")
    source: Annotated[JsonValue, WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "string"}]})] = Field(
        description="optuna: distributions by name, each as `distribution_to_json` writes it; wandb: a sweep configuration. "
        "An object, or text: JSON, or YAML of at most 64 KiB without aliases"
    )
    study: dict[str, JsonValue] = Field(
        {}, description="Fields of a StudyDefinition that replace those found; in `space` parameter by parameter"
    )
    create: bool = Field(False, description="Whether to create the study, too")


class NoteOut(BaseModel):
    """Something that was not carried over as it stood, and why."""

    path: str
    message: str


class ImportOut(BaseModel):
    """A definition that can be posted as it is, what it lacks of its source, and the study if it was created."""

    definition: dict[str, Any]
    notes: list[NoteOut]
    study: StudyOut | None


_IMPORT = Shape(TypeAdapter(ImportIn), ImportIn)


def read_import(raw: object) -> ImportIn:
    """Read what to import. Raise InvalidValue with every fault."""
    if isinstance(raw, Mapping) and "source" in raw:
        source = raw["source"]
        source = read_text(source, "source") if isinstance(source, str) else source
        raw = {**raw, "source": read_entries(source, "source") if raw.get("format") == "optuna" else source}
    value, unclean = clean(raw)
    reading = read(_IMPORT, value, "")
    roots = frozenset(fault.path for fault in unclean)
    faults: list[Fault] = unclean + [fault for fault in reading.faults if not beneath(fault.path, roots)]
    if faults:
        raise InvalidValue(faults)
    body: ImportIn = reading.value
    return body


def import_out(found: Imported, view: StudyView | None) -> ImportOut:
    """Show what an import came to."""
    return ImportOut(
        definition=found.definition,
        notes=[NoteOut(**asdict(note)) for note in found.notes],
        study=study_out(view) if view is not None else None,
    )
