"""What the tables of a tuneup.toml have in common."""

from collections.abc import Iterator, Mapping, Sequence

from search.definition.hygiene import string_problem


def is_text(value: object) -> bool:
    """Say whether a value is a string that an operating system takes."""
    return isinstance(value, str) and "\0" not in value


def common_faults(name: str, table: object, fields: Sequence[str], *, longest: int) -> Iterator[str]:
    """Say what is wrong with the name of a table, and with what it is; the first fault first."""
    problem = string_problem(name, longest) or ("must not be blank" if not name.strip() else None)
    if problem is not None:
        yield f"the name {problem}"
    if not isinstance(table, Mapping):
        yield f"must be a table with {', '.join(fields)}"
        return
    for key in table:
        if key not in fields:
            yield f"there is no field {key!r} here; valid are {', '.join(fields)}"
