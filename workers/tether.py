"""`python -m workers.tether PARENT COMMAND...`: become COMMAND, and die with the process PARENT.

On Linux the kernel kills the command when the thread that started it ends (a parent-death signal survives the exec),
so the caller must start it from a thread that lives as long as its process.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when its parent ends; exit at once if `parent` is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        sys.exit(f"the parent process {parent} is gone")


def tethered(*command: str) -> list[str]:
    """Return the argument list that runs `command` tied to this process."""
    return [sys.executable, "-m", "workers.tether", str(os.getpid()), *command]


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    # What the parent ignores would stay ignored after the exec.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  this is what the program is for
