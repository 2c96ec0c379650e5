"""Bounds and names that the parts of a definition share."""

from typing import Annotated, TypeAlias

from pydantic import Field

from search.definition.hygiene import LONGEST_NAME

MOST_TRIALS = 1_000_000
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME, pattern=r"\S")]
