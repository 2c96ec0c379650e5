"""What a trainer and its supervisor say to each other: JSON objects, one a line, over a socket pair.

supervisor -> trainer
    start       {"type": "start", "trial": "<id>", "attempt": 1, "objective": {...}, "params": {...}, "seed": 7, "wait": true}
    verdict     {"type": "verdict", "trial": "<id>", "step": 3, "stop": false, "reason": null}   one for each measurement
    stop        {"type": "stop", "trial": "<id>", "reason": "cancelled"}                          at any time
    (end of file: exit at once)

trainer -> supervisor
    ready       {"type": "ready", "pid": 123}                                                     once, after its imports
    measurement {"type": "measurement", "trial": "<id>", "step": 1, "values": {"val_loss": 0.3}}
    done        {"type": "done", "trial": "<id>", "outcome": "completed", "reason": null, "error": null}

`outcome` is one of OUTCOMES. With `wait` the trainer holds after each measurement until its verdict came
(at most VERDICT_SECONDS), so that a pruned trial trains no epoch more; without it, it only looks.
A trainer runs one trial at a time, and after `done` waits for the next `start`. This module imports no torch.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

OUTCOMES = ("completed", "stopped", "diverged", "failed")
VERDICT_SECONDS = 5.0

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
