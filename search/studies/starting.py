"""What a new study starts with: its default point, and the best points of earlier studies of its project."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from models import studies
from models.closings import CUT_SHORT
from models.enqueueing import Entry
from models.ids import read_study, show_study, show_trial
from models.session import Connection, Database, Row
from search.definition.defaults import default_point
from search.definition.parse import parse_study
from search.definition.planning import plan_of
from search.definition.schema import StudyDefinition
from search.definition.searches import GridSearch
from search.definition.starts import AUTO, AUTO_TRIALS, OFF, Fingerprint, WarmStart
from search.errors import Fault, InvalidStudy
from search.space.parameters import Value
from search.space.points import grid
from search.studies.similarity import carried, repeats, similarity
from search.studies.views import read_definition

DEFAULT, WARM = "default", "queued"
_MOST_LOOKED_AT = 200
_COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class _Source:
    """An earlier study, and how alike it is."""

    id: int
    likeness: tuple[float, ...]


def digest(fingerprint: Fingerprint | None) -> str | None:
    """Return a fingerprint as it is stored and looked up; None for none."""
    if fingerprint is None:
        return None
    return hashlib.sha256(json.dumps([fingerprint.network, fingerprint.data]).encode()).hexdigest()


def look_back(database: Database, project_id: int, raw: object) -> list[Entry] | None:
    """Find, before a study is created, the points of earlier ones that it starts with if it says `auto`.

    None where it says something else, or cannot be read: what is wrong with it is for its creation to say. To compare
    hundreds of studies takes too long for a transaction that writes.
    """
    if not isinstance(raw, Mapping) or raw.get("warm_start") != AUTO:
        return None
    with suppress(InvalidStudy):
        definition = parse_study(raw)
        return database.read(lambda connection: _warm(connection, project_id, definition, _own(definition)))
    return None


def starting_trials(
    connection: Connection, project_id: int, definition: StudyDefinition, found: Sequence[Entry] | None = None
) -> list[Entry]:
    """Return the trials that a new study starts with. Raise InvalidStudy for studies to start from that cannot be.

    The default point comes first. Points of other studies take what it leaves of the budget, half of it at most where
    the study says `auto`; they are those `found` by a look back, or are looked for here.
    """
    own = _own(definition)
    if definition.warm_start == OFF:
        return own
    return [*own, *(_warm(connection, project_id, definition, own) if found is None else found)]


def _own(definition: StudyDefinition) -> list[Entry]:
    return [_default(definition)] if definition.start_from_default else []


def _default(definition: StudyDefinition) -> Entry:
    params, sources = default_point(definition)
    return Entry(params=params, origin=DEFAULT, why={"defaults": sources})


def _warm(connection: Connection, project_id: int, definition: StudyDefinition, own: Sequence[Entry]) -> list[Entry]:
    """Choose the best points of other studies, from the most alike one on; none that is among its `own`."""
    room = definition.trials - definition.reserved - len(own)
    if isinstance(definition.warm_start, WarmStart):
        sources = _named(connection, project_id, definition, definition.warm_start)
        most = min(definition.warm_start.trials, room)
    else:
        sources, most = _alike(connection, project_id, definition), min(AUTO_TRIALS, room // 2)
    entries: list[Entry] = []
    seen = [entry.params for entry in own]
    for source in sources:
        if len(entries) >= most:
            break
        rows = studies.leading_trials(connection, source.id, limit=4 * most)
        points = [(row.number, row.params) for row in rows]
        made = [_entry(source, number, point) for number, point in carried(definition, points, besides=seen)]
        kept = list(_on_grid(definition, made))[: most - len(entries)]
        entries += kept
        seen += [entry.params for entry in kept]
    return entries


def _named(connection: Connection, project_id: int, definition: StudyDefinition, wanted: WarmStart) -> list[_Source]:
    faults, found = [], []
    for place, text in enumerate(wanted.studies):
        study_id = read_study(text)
        row = studies.find_study(connection, project_id, study_id) if study_id is not None else None
        likeness = _likeness(definition, row) if row is not None else None
        if row is None:
            message = f"there is no study {text!r} in this project; GET /v1/studies lists them"
        elif likeness is None:
            message = "has another metric to optimize, or shares no part of this space: its points say nothing here"
        else:
            found.append(_Source(row.id, likeness))
            continue
        faults.append(Fault(f"warm_start.studies[{place}]", message))
    if faults:
        raise InvalidStudy(faults)
    return sorted(found, key=lambda source: source.likeness, reverse=True)


def _alike(connection: Connection, project_id: int, definition: StudyDefinition) -> list[_Source]:
    """Return the completed studies of the project that are at all like this one, the most alike first."""
    rows = [
        *studies.with_fingerprint(connection, project_id, digest(definition.fingerprint), limit=_MOST_LOOKED_AT),
        *studies.list_studies(connection, project_id, limit=_MOST_LOOKED_AT, state=_COMPLETED),
    ]
    distinct = {row.id: row for row in rows}
    found = [
        _Source(row.id, likeness) for row in distinct.values() if (likeness := _likeness(definition, row)) is not None
    ]
    return sorted(found, key=lambda source: source.likeness, reverse=True)


def _likeness(definition: StudyDefinition, row: Row[Any]) -> tuple[float, ...] | None:
    mine = digest(definition.fingerprint)
    return similarity(
        definition, read_definition(row.definition), same_fingerprint=mine is not None and mine == row.fingerprint
    )


def _entry(source: _Source, number: int, point: Mapping[str, Value]) -> Entry:
    why = {"warm_start": show_trial(source.id, number), "study": show_study(source.id), "likeness": source.likeness[1]}
    return Entry(params=point, origin=WARM, why=why)


def _on_grid(definition: StudyDefinition, entries: Sequence[Entry]) -> Iterator[Entry]:
    """Give the entries of a grid their grid points, and leave out those that are none."""
    if not isinstance(definition.search, GridSearch):
        yield from entries
        return
    points = grid(plan_of(definition))
    for entry in entries:
        place = points.index(entry.params)
        if place is not None:
            yield replace(entry, grid_index=place)


def earlier_answer(connection: Connection, project_id: int, definition: StudyDefinition) -> int | None:
    """Return the newest completed study that answers what this one asks, where it asks for such; None for none."""
    if not definition.reuse:
        return None
    rows = studies.with_fingerprint(connection, project_id, digest(definition.fingerprint), limit=_MOST_LOOKED_AT)
    whole = [row for row in rows if row.closing not in CUT_SHORT]
    imported = studies.count_imported(connection, [row.id for row in whole])
    answers = (
        row.id
        for row in whole
        if repeats(definition, read_definition(row.definition), imported=imported.get(row.id, 0))
    )
    return next(answers, None)
