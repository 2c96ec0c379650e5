"""What a process has started, also while it changes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from training.processes import descendants

PROGRAM = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_children_are_found_in_any_session() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            assert descendants(process.pid) == [child]
            assert {process.pid, child} <= set(descendants(os.getpid()))
        finally:
            os.kill(child, 9)
            process.kill()
    assert descendants(process.pid) == []


@pytest.mark.parametrize("error", [FileNotFoundError, ProcessLookupError])
@pytest.mark.parametrize("look", ["iterdir", "read_text"])
def test_who_ends_while_it_is_looked_at_has_started_nothing(
    monkeypatch: pytest.MonkeyPatch, look: str, error: type[OSError]
) -> None:
    def gone(self: Path) -> NoReturn:
        raise error(str(self))

    monkeypatch.setattr(Path, look, gone)
    assert descendants(os.getpid()) == []
