"""Worker processes that wait for work: spawned once, so that imports and process starts are never in what is timed.

A job is prepared in each process that takes part (connect, warm up), then all are released together. Times are of the
monotonic clock, which the processes of one machine share.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from benchmarks.statements import counted

# What a job does once released; returns what it has to say about its share.
Work: TypeAlias = Callable[[], Any]
# Called in the process as prepare(place, *arguments), with place = 0 .. workers - 1.
Prepare: TypeAlias = Callable[..., Work]


@dataclass(frozen=True, slots=True)
class Share:
    """What one process did: from `began` to `ended` (seconds), in so many SQL statements."""

    began: float
    ended: float
    statements: int
    said: Any


@dataclass(frozen=True, slots=True)
class Hands:
    """The processes, each at the other end of a pipe."""

    pipes: Sequence[Connection]

    def ready(self, workers: int, prepare: Prepare, *arguments: object) -> None:
        """Let the first `workers` processes prepare; return when all have. Raise what one of them raised."""
        for place, pipe in enumerate(self.pipes[:workers]):
            pipe.send((prepare, place, arguments))
        _collect(self.pipes[:workers])

    def go(self, workers: int) -> list[Share]:
        """Release those that are ready, together, and return what each did. Raise what one of them raised."""
        for pipe in self.pipes[:workers]:
            pipe.send(None)
        return _collect(self.pipes[:workers])


@contextmanager
def hands(count: int) -> Iterator[Hands]:
    """Start `count` processes; end them afterwards."""
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=_serve, args=(far,), daemon=True) for _, far in pairs]
    for process in processes:
        process.start()
    for _, far in pairs:
        far.close()  # so that a process that dies is the end of its pipe
    try:
        yield Hands([near for near, _ in pairs])
    finally:
        for near, _ in pairs:
            near.close()
        for process in processes:
            process.join(10)


def _collect(pipes: Sequence[Connection]) -> list[Any]:
    said = [pipe.recv() for pipe in pipes]
    for answer in said:
        if isinstance(answer, BaseException):
            raise answer
    return said


def _serve(pipe: Connection) -> None:
    while True:
        try:
            prepare, place, arguments = pipe.recv()
        except EOFError:
            return
        try:
            work = prepare(place, *arguments)
            pipe.send(None)
            pipe.recv()
            pipe.send(_timed(work))
        except Exception as error:  # noqa: BLE001  the outermost edge of this process: it is raised in the other one
            pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _timed(work: Work) -> Share:
    before, began = counted(), time.monotonic()
    said = work()
    return Share(began, time.monotonic(), counted() - before, said)
