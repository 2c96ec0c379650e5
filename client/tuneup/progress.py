"""A study's progress while it runs: a live bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from tuneup.output import console, printable, summary
from tuneup.study import Study

Show: TypeAlias = Callable[[Study], None]
SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def showing(name: str) -> Iterator[Show]:
    """Give a function that shows a study's state on standard error; the study is called `name`."""
    screen = console(stderr=True)
    if screen.is_terminal:
        with _bar(screen) as bar:
            task = bar.add_task(printable(name), total=None, summary="")
            yield lambda study: _draw(bar, task, study)
    else:
        yield _lines(screen)


def _bar(screen: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[summary]}", markup=False),
        TimeElapsedColumn(),
        console=screen,
    )


def _draw(bar: Progress, task: TaskID, study: Study) -> None:
    progress = study.progress
    bar.update(
        task,
        completed=progress["finished"],
        total=progress["budget"],
        summary=printable(summary(study.data)),
    )


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
