"""What a benchmark promises, and how that is printed: the last line of `--json` is for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Promise:
    """A figure and its target: the least it may be, or the most with `at_most`. A value of None was not measured."""

    name: str
    value: float | None
    target: float
    at_most: bool = False
    holds: bool | None = field(init=False)

    def __post_init__(self) -> None:
        """Compare."""
        met = None if self.value is None else self.value <= self.target if self.at_most else self.value >= self.target
        object.__setattr__(self, "holds", met)


def show(promises: Sequence[Promise]) -> str:
    """Write promises as lines for people."""
    words = {True: "holds", False: "FALLS SHORT", None: "not measured"}
    return "\n".join(
        f"  {words[promise.holds]:<12} {promise.name}: "
        f"{'-' if promise.value is None else f'{promise.value:.2f}'} "
        f"({'at most' if promise.at_most else 'at least'} {promise.target:g})"
        for promise in promises
    )


def line(benchmark: str, promises: Sequence[Promise], **more: object) -> str:
    """Write the line for programs."""
    shown: list[Mapping[str, Any]] = [
        {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(promise).items()}
        for promise in promises
    ]
    return json.dumps({"benchmark": benchmark, "promises": shown, **more})


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write rows in columns: numbers to the right, words to the left."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(head), *(len(row[place]) for row in cells)) for place, head in enumerate(heads)]
    aligned = [
        "  ".join(
            text.ljust(width) if isinstance(value, str) else text.rjust(width)
            for text, value, width in zip(texts, values, widths, strict=True)
        ).rstrip()
        for texts, values in zip(cells, rows, strict=True)
    ]
    return "\n".join(["  ".join(head.rjust(width) for head, width in zip(heads, widths, strict=True)), *aligned])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
    return str(value)
