"""The lab's process: `python -m training.lab` answers questions, one JSON line each, on standard input and output.

    in    {"id": ID, "question": a question of `training.lab.answers`}
    out   {"ready": true} once, when everything is loaded; then for each question in turn {"id": ID, "body": BASE64},
          or {"id": ID, "error": TEXT} where answering raised; ID is null where the line had none

It ends at the end of its input, even in the middle of an answer, and after a time without questions.
"""

import base64
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import BinaryIO

import torch

from training.lab.answers import answer

IDLE_SECONDS = 300.0


def serve(lines: "queue.SimpleQueue[bytes]", out: BinaryIO) -> None:
    """Answer questions until none comes for IDLE_SECONDS."""
    _say(out, {"ready": True})
    while True:
        try:
            line = lines.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            return
        _say(out, reply(line))


def reply(line: bytes) -> dict[str, str | None]:
    """Answer one question under its id; whatever goes wrong is said and logged."""
    number = None
    try:
        asked = json.loads(line)
        number = asked["id"]
        return {"id": number, "body": base64.b64encode(answer(asked["question"])).decode()}
    except Exception as error:  # noqa: BLE001 - the edge of the process: one bad question must not end it
        traceback.print_exc()
        return {"id": number, "error": f"{type(error).__name__}: {error}"}


def _say(out: BinaryIO, message: Mapping[str, object]) -> None:
    out.write(json.dumps(message).encode() + b"\n")
    out.flush()


def _listen(lines: "queue.SimpleQueue[bytes]") -> None:
    """Read questions in a thread of their own, so that the end of whoever asks is noticed at once."""
    for line in sys.stdin.buffer:
        lines.put(line)
    os._exit(0)


def main() -> None:
    torch.set_num_threads(1)
    # What a library prints must not be taken for an answer.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(lines,), name="questions", daemon=True).start()
        serve(lines, out)
    os._exit(0)  # the thread that listens holds the lock of standard input, which an ordinary exit waits for


if __name__ == "__main__":
    main()
