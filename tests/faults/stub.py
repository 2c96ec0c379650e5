"""A training script that does not train: it sleeps, reports, and fails on order. Only the standard library.

A registered command: one JSON line comes on standard input, measurements go out as JSON lines. Each start, step and
end is appended to the oracle (its path is in TUNEUP_ORACLE) before the service hears of it.
Options: `pause`, the longest sleep in a step, in seconds; `steps`; `misbehave`, one of MISBEHAVIOURS, in every
`every`-th trial, while the attempt's number is at most `attempts`.
"""

import json
import os
import random
import signal
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

METRIC = "loss"
MOST_STEPS = 5


def value(params: Mapping[str, Any], step: int) -> float:
    """Return the measurement of a step: a pure function, so that anybody may compute it again."""
    text = json.dumps(params, sort_keys=True, separators=(",", ":"))
    return round(zlib.crc32(text.encode()) / 2**32 + 1.0 / step, 9)


def count_steps(options: Mapping[str, Any], number: int) -> int:
    """Return how many steps the trial `number` has: as ordered, or 1 to MOST_STEPS in turn."""
    return int(options.get("steps") or 1 + number % MOST_STEPS)


def misbehaves(options: Mapping[str, Any], number: int, attempt: int) -> bool:
    """Say whether this attempt is one that fails on order."""
    if "misbehave" not in options:
        return False
    return number % int(options.get("every", 5)) == 1 and attempt <= int(options.get("attempts", 1))


def _crash() -> float:
    sys.stderr.write("failing on order\n")
    sys.exit(1)


def _poison() -> float:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0.0


def _hang() -> float:
    while True:
        time.sleep(3600)


# Each is called in the middle of a trial; what it returns, if it does, is reported.
MISBEHAVIOURS: Mapping[str, Callable[[], float]] = {
    "crash": _crash,
    "out of memory": lambda: sys.exit(137),
    "poison": _poison,
    "nan": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "hang": _hang,
}


def main() -> None:
    """Run the one trial on standard input."""
    start = json.loads(sys.stdin.readline())
    options, number, attempt = start["options"], start["number"], start["attempt"]
    note = _notes(start)
    note("start")
    rng = random.Random(f"{start['trial']} {attempt}")
    steps = count_steps(options, number)
    for step in range(1, steps + 1):
        time.sleep(rng.uniform(0.1, 1.0) * options.get("pause", 0.1))
        measured = value(start["params"], step)
        if step == (steps + 1) // 2 and misbehaves(options, number, attempt):
            measured = MISBEHAVIOURS[options["misbehave"]]()
        note("step", step=step, value=measured)
        sys.stdout.write(json.dumps({"step": step, "values": {METRIC: measured}}) + "\n")
        sys.stdout.flush()
    note("end")


def _notes(start: Mapping[str, Any]) -> Callable[..., None]:
    oracle = os.open(os.environ["TUNEUP_ORACLE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    who = {name: start[name] for name in ("study", "trial", "attempt")} | {"kind": "train", "pid": os.getpid()}

    def note(event: str, **more: Any) -> None:
        line = who | {"event": event, "at": time.monotonic()} | more
        os.write(oracle, json.dumps(line).encode() + b"\n")

    return note


if __name__ == "__main__":
    main()
