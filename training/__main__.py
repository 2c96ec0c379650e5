"""The trainer process: `python -m training --fd N` runs trials that its supervisor sends over the inherited socket N.

Kept warm between trials, because importing torch takes seconds; before each trial everything that one may have left
behind is reset, so that a warm trainer gives the numbers of a fresh one. It exits with 0 at end of file, even in the
middle of a trial, and with 2 on a message it cannot understand. The messages are those of `training.protocol`.
"""

import argparse
import os
import random
import socket
import traceback
from typing import NoReturn

import numpy as np
import torch

from training import recipes
from training.channel import Channel, Outcome, Start, done_message
from training.memory import OutOfMemory, is_out_of_memory
from training.population.floor import Floor
from training.protocol import DEVICE, OUT_OF_MEMORY, REASON_CHARACTERS, tail
from training.recipes import NoDevice
from training.reporter import Reporter

# CUDA's libraries (cuBLAS, cuDNN) fail with a plain RuntimeError that says so.
_DEVICE_WORDS = ("CUDA error",)


def attempt(start: Start, channel: Channel, *, threads: int = 1) -> Outcome:
    """Run one trial, on so many threads at most; whatever its recipe raises becomes the outcome `failed`."""
    reset(start.seed)
    reporter = Reporter(channel, start)
    try:
        outcome = recipes.run(
            start.objective, start.params, seed=start.seed, watch=reporter, folder=start.data, threads=threads
        )
    except Exception as error:  # noqa: BLE001 - the edge of the process: a trial's error must not end the trainer
        return Outcome("failed", reason_of(error), tail(traceback.format_exc()))
    return Outcome("stopped", reporter.reason) if outcome.outcome == "stopped" else outcome


def serve(channel: Channel) -> NoReturn:
    """Run trials for ever, singly or together, as each asks; the channel's thread ends the process."""
    threads = torch.get_num_threads()  # what the environment allows this process
    floor = Floor(channel, reason_of, threads=threads)
    channel.send({"type": "ready", "pid": os.getpid()})
    while True:
        start = channel.next_start()
        if start.lane:
            reset(start.seed)
            floor.serve(start)
        else:
            channel.send(done_message(start.trial, attempt(start, channel, threads=threads)))


def reset(seed: int) -> None:
    """Undo what an earlier trial may have left: random state, dtype, device, gradient mode, threads."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries draw from this state
    torch.manual_seed(seed % 2**63)
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.set_num_threads(1)  # trials run side by side, one process on each core


def reason_of(error: Exception) -> str:
    """Return one line for people. It begins with `out_of_memory`, and is `device` where the host's device failed."""
    text = str(error)
    if isinstance(error, OutOfMemory):
        return f"{OUT_OF_MEMORY}: {text}"
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, torch.AcceleratorError | NoDevice):
        return DEVICE
    if isinstance(error, RuntimeError) and any(words in text for words in _DEVICE_WORDS):
        return DEVICE
    line = text.strip().partition("\n")[0]
    return f"{type(error).__name__}: {line}"[:REASON_CHARACTERS]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description="Run trials for a supervisor.")
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of the inherited socket")
    serve(Channel(socket.socket(fileno=parser.parse_args().fd)))


if __name__ == "__main__":
    main()
