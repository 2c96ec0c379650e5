"""A tethered command is the command itself, and does not start for a parent that is gone."""

import os
import signal
import subprocess
import sys

from workers.fleet import ROOT
from workers.tether import tethered


def test_the_command_takes_the_place_of_the_tether() -> None:
    shell = subprocess.Popen(tethered("sh", "-c", "echo $$ $PPID; exit 7"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    said, _ = shell.communicate(timeout=20)
    assert said.split() == [str(shell.pid), str(os.getpid())]
    assert shell.returncode == 7


def test_a_signal_that_we_ignore_ends_the_command_all_the_same() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        sleeper = subprocess.Popen(tethered("sh", "-c", "echo here; exec sleep 60"), cwd=ROOT, stdout=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert sleeper.stdout is not None
    assert sleeper.stdout.readline() == b"here\n"
    sleeper.terminate()
    sleeper.communicate(timeout=20)
    assert sleeper.returncode == -signal.SIGTERM


def test_nothing_starts_for_a_parent_that_is_gone() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    command = [sys.executable, "-m", "workers.tether", str(ended.pid), "echo", "started"]
    late = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)
    assert late.returncode == 1
    assert late.stdout == ""
    assert "is gone" in late.stderr
