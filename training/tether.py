"""`python -I tether.py PARENT FD COMMAND...`: become COMMAND, and die with the process PARENT.

If that fails, the reason is written to the inherited descriptor FD; when it succeeds FD is closed by the exec. This is
run by its path and in isolated mode, because the folder it runs in is the user's and may hold modules of any name.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
# Python ignores the first two, workers the third; what is ignored would stay so after the exec.
_DEFAULT = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit at once if `parent` is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(f"the parent process {parent} is gone")


def become(command: list[str], *, report: int) -> None:
    """Replace this process by the command, or write to `report` why that cannot be."""
    for number in _DEFAULT:
        signal.signal(number, signal.SIG_DFL)
    os.set_inheritable(report, False)
    try:
        os.execvp(command[0], command)  # noqa: S606 - this is what the program is for
    except OSError as error:
        os.write(report, str(error).encode())
    sys.exit(127)


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    become(sys.argv[3:], report=int(sys.argv[2]))
