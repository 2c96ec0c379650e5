"""What a trainer and its supervisor say to each other: JSON objects, one a line, over a socket pair.

supervisor -> trainer
    start       {"type": "start", "trial": "<id>", "attempt": 1, "objective": {...}, "params": {...}, "seed": 7, "lane": true,
                 "wait": false | true | [1, 3, 9],
                 "checkpoints": null | {"folder": "/folder/of/the/trial", "seconds": 30.0,
                                        "resume": [{"path": "/file", "sha256": "<hex>", "step": 12}, ...]},
                 "data": null | "/folder/of/data"}
    verdict     {"type": "verdict", "trial": "<id>", "step": 3, "stop": false, "reason": null}
    verdicts    {"type": "verdicts", "of": [["<id>", 3, false, null], ...]}                       several at once
    stop        {"type": "stop", "trial": "<id>", "reason": "cancelled", "checkpoint": false}     at any time
    (end of file: exit at once)

trainer -> supervisor
    ready       {"type": "ready", "pid": 123}                                                     once, after its imports
    room        {"type": "room", "members": 64, "lane": "mlp hidden=[32], digits, cpu"}
    resumed     {"type": "resumed", "trial": "<id>", "step": 12}
    measurement {"type": "measurement", "trial": "<id>", "step": 1, "values": {"val_loss": 0.3}}
    measurements {"type": "measurements", "of": [["<id>", 1, {"val_loss": 0.3}], ...]}            several, in order
    checkpoint  {"type": "checkpoint", "trial": "<id>", "step": 12, "path": "/file", "sha256": "<hex>", "bytes": 1234}
    alive       {"type": "alive", "trial": "<id>"}
    done        {"type": "done", "trial": "<id>", "outcome": "completed", "reason": null, "error": null,
                 "ran": {"lane": "mlp hidden=[32], digits, cpu" | null, "population": 37, "seconds": 0.52, "alone": null}}

`outcome` is one of OUTCOMES. A trial waits after the measurement of each step that `wait` names (true: of every one) until
its verdict came (at most VERDICT_SECONDS), so that a pruned trial trains no epoch more; elsewhere it only looks for a stop.

Without `lane` a trainer runs one trial at a time, and after `done` waits for the next `start`. With it, it may be given more
while it runs, each with `lane`: it trains together what fits together (`training.population`). `room` says how many, those
it runs included, pay on this device; until the first one that is 1, and it may come again with another number. `ran`, given
where `lane` was asked for, says in which lane a trial was trained, beside how many others at most (itself included), its share of the seconds that steps took,
and, where it could not share a lane, why it was `alone`. The outcome RELEASED gives a trial back that others had to make
room for: it runs again, uncharged.

With `checkpoints` a trainer writes one every `seconds`, and one before `done` on a stop with `checkpoint`. A message
`checkpoint` says that the file is whole and on disk. Its `step` counts the steps whose measurements were sent, so a
trial that went on from it reports from `step` + 1. A later checkpoint of the same attempt and step replaces the earlier one.
`resume` lists what the trial may go on from, the newest first; a file whose hash differs is passed over. `resumed` comes
at most once, before the first measurement. `alive` is a sign of progress inside a long step, at most one in ALIVE_SECONDS.

An objective with `begins` and `ends` is a leg of a run of so many `epochs`: the trial goes on from what `resume` lists, of
another trial or of its own, and ends after the epoch `ends`, with a checkpoint unless that is the last one. Where `begins`
is not 0 and nothing can be gone on from, it has failed.

The reasons OUT_OF_MEMORY and DEVICE of an outcome `failed` name its class; any other reason is a user's error.
This module imports no torch.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

RELEASED = "released"
OUTCOMES = ("completed", "stopped", "diverged", "failed", RELEASED)
OUT_OF_MEMORY = "out_of_memory"
# The host or its device failed and not the trial.
DEVICE = "device"
VERDICT_SECONDS = 5.0
ALIVE_SECONDS = 2.0
ERROR_BYTES = 64 * 1024
REASON_CHARACTERS = 200

Message: TypeAlias = dict[str, Any]


def encode(message: Mapping[str, Any]) -> bytes:
    """Turn one message into one line. Raise ValueError for NaN or infinity: they never cross this line."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read one line. Raise ValueError if it is not a JSON object with a `type`."""
    message = json.loads(line)
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ValueError(  # noqa: TRY004 - what was received is at fault, not a caller's type
            f"not a protocol message: {line[:80]!r}"
        )
    return message


def tail(text: str) -> str:
    """Return the end of a traceback, where the error is, in at most ERROR_BYTES bytes."""
    return text.encode(errors="replace")[-ERROR_BYTES:].decode(errors="ignore")
