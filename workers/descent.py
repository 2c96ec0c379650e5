"""What a process has started, and what that has started."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


def descendants(process: int) -> list[int]:
    """Return the ids of what a process has started, what that has started, and so on, in any session; on Linux only."""
    found = [process]
    for each in found:
        found += [child for child in _children(each) if child not in found]
    return found[1:]


def _children(process: int) -> Iterator[int]:
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has ended
            yield from map(int, thread.read_text().split())
