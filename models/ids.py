"""Identifiers as the world sees them: opaque strings over whole numbers in the tables.

A study's id is 63 random bits, shown as 13 characters of Crockford's base 32 in lower case (no i, l, o, u).
A trial has no id of its own in the tables: its key is (study, number), shown as `<study>-<number>`.
"""

import secrets

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 13
_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def new_study_id() -> int:
    """Draw a study's id: unguessable, positive, and fitting a signed 64-bit column."""
    return secrets.randbits(63)


def show_study(study_id: int) -> str:
    """Write a study's id as the API shows it."""
    characters = []
    for _ in range(LENGTH):
        study_id, value = divmod(study_id, 32)
        characters.append(ALPHABET[value])
    return "".join(reversed(characters))


def read_study(text: str) -> int | None:
    """Read what `show_study` wrote; None for anything else."""
    if len(text) != LENGTH or any(character not in _VALUES for character in text):
        return None
    value = 0
    for character in text:
        value = value * 32 + _VALUES[character]
    return value if value < 2**63 else None


def show_trial(study_id: int, number: int) -> str:
    """Write a trial's id as the API shows it."""
    return f"{show_study(study_id)}-{number}"


def read_trial(text: str) -> tuple[int, int] | None:
    """Read what `show_trial` wrote; None for anything else."""
    study, dash, number = text.partition("-")
    study_id = read_study(study)
    if study_id is None or not dash or not number.isascii() or not number.isdigit() or len(number) > 9:
        return None
    if number != str(int(number)):
        return None
    return study_id, int(number)
