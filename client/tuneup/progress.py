"""A study's progress while it runs: a live bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from tuneup.output import printable, short_summary, summary
from tuneup.study import Study

Show: TypeAlias = Callable[[Study], None]
SECONDS_BETWEEN_LINES = 5.0
BAR_COLUMNS = 20
# The bar, the time elapsed (`1 day, 0:00:00` at its longest), and a column between each two of the four parts.
COLUMNS_BESIDE_TEXT = BAR_COLUMNS + 14 + 3
SHORT_NAME = 16


@contextmanager
def showing(name: str, *, screen: Console) -> Iterator[Show]:
    """Give a function that shows a study's state on `screen`; the study is called `name`."""
    if screen.is_terminal:
        with _bar(screen) as bar:
            task = bar.add_task(_cut(printable(name)), total=None, summary="")
            yield lambda study: _draw(bar, task, study)
    else:
        yield _lines(screen)


def _bar(screen: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=BAR_COLUMNS),
        TextColumn("{task.fields[summary]}", markup=False),
        TimeElapsedColumn(),
        console=screen,
    )


def _draw(bar: Progress, task: TaskID, study: Study) -> None:
    name, text = texts(study, width=bar.console.width)
    progress = study.progress
    bar.update(task, completed=progress["finished"], total=progress["budget"], description=name, summary=text)


def texts(study: Study, *, width: int) -> tuple[str, str]:
    """Return the texts before and after the bar: short where the long ones would leave it no room in `width` columns."""
    name, text = printable(study.name), printable(summary(study.data))
    if cell_len(name) + cell_len(text) + COLUMNS_BESIDE_TEXT <= width:
        return name, text
    return _cut(name), printable(short_summary(study.data))


def _cut(name: str) -> str:
    return name if cell_len(name) <= SHORT_NAME else f"{set_cell_size(name, SHORT_NAME - 1)}…"


def _lines(screen: Console) -> Show:
    """Print a line where it differs from the last, at most one in a few seconds, and always the one at the end."""
    last_line, last_time = "", float("-inf")

    def show(study: Study) -> None:
        nonlocal last_line, last_time
        line, now = printable(summary(study.data)), time.monotonic()
        if line != last_line and (study.ended or now - last_time >= SECONDS_BETWEEN_LINES):
            last_line, last_time = line, now
            screen.print(Text(line))

    return show
