"""What a trainer and its supervisor say to each other: JSON objects, one a line, over a socket pair.

supervisor -> trainer
    start       {"type": "start", "trial": "<id>", "attempt": 1, "objective": {...}, "params": {...}, "seed": 7, "wait": true,
                 "checkpoints": null | {"folder": "/folder/of/the/trial", "seconds": 30.0,
                                        "resume": [{"path": "/file", "sha256": "<hex>", "step": 12}, ...]},
                 "data": null | "/folder/of/data"}
    verdict     {"type": "verdict", "trial": "<id>", "step": 3, "stop": false, "reason": null}   one for each measurement
    stop        {"type": "stop", "trial": "<id>", "reason": "cancelled", "checkpoint": false}     at any time
    (end of file: exit at once)

trainer -> supervisor
    ready       {"type": "ready", "pid": 123}                                                     once, after its imports
    resumed     {"type": "resumed", "trial": "<id>", "step": 12}
    measurement {"type": "measurement", "trial": "<id>", "step": 1, "values": {"val_loss": 0.3}}
    checkpoint  {"type": "checkpoint", "trial": "<id>", "step": 12, "path": "/file", "sha256": "<hex>", "bytes": 1234}
    alive       {"type": "alive", "trial": "<id>"}
    done        {"type": "done", "trial": "<id>", "outcome": "completed", "reason": null, "error": null}

`outcome` is one of OUTCOMES. With `wait` the trainer holds after each measurement until its verdict came
(at most VERDICT_SECONDS), so that a pruned trial trains no epoch more; without it, it only looks.
A trainer runs one trial at a time, and after `done` waits for the next `start`.

With `checkpoints` a trainer writes one every `seconds`, and one before `done` on a stop with `checkpoint`. A message
`checkpoint` says that the file is whole and on disk. Its `step` counts the steps whose measurements were sent, so a
trial that went on from it reports from `step` + 1. A later checkpoint of the same attempt and step replaces the earlier one.
`resume` lists what the trial may go on from, the newest first; a file whose hash differs is passed over. `resumed` comes
at most once, before the first measurement. `alive` is a sign of progress inside a long step, at most one in ALIVE_SECONDS.

The reasons OUT_OF_MEMORY and DEVICE of an outcome `failed` name its class; any other reason is a user's error.
This module imports no torch.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

# Given back by the trainer: it shares its device with others, and there is no room for this one now.
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
