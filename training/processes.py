"""A user's command as a child process: started so that it dies with this one, ended with all that it started."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_TETHER = Path(__file__).with_name("tether.py")


def launch(command: Sequence[str], *, folder: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a command in `folder`, in our process group, with pipes for its three streams.

    Raise OSError, naming what is wrong, if it cannot be started.
    """
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as report:
        try:
            # No -m and no site: the folder is the user's, and its modules must not be taken for the standard library's.
            process = subprocess.Popen(  # noqa: S603 - the command is what the worker's operator wrote down
                [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), str(writing), *command],
                cwd=folder,
                env=environment,
                pass_fds=(writing,),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        finally:
            os.close(writing)
        refusal = report.read().decode(errors="replace")
    if refusal:
        process.communicate()
        raise OSError(refusal)
    return process


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that `end_children` finds it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children() -> None:
    """Kill every child of this process and wait for it, those too that are adopted meanwhile; on Linux only."""
    stubborn: set[int] = set()
    while left := set(_children("self")) - stubborn:
        for child in left:
            try:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            except OSError:  # not ours to kill, or waited for already
                stubborn.add(child)


def descendants(process: int) -> list[int]:
    """Return the ids of what a process has started, what that has started, and so on, in any session; on Linux only."""
    found = [process]
    for each in found:
        found += [child for child in _children(each) if child not in found]
    return found[1:]


def _children(process: int | str) -> list[int]:
    """Return the children of a process, fewer where it ends while it is looked at."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found
