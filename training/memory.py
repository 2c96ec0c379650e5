"""Running out of memory: how torch says so, and what would need less."""

import torch

# How torch words a refusal of the host's memory, which has no exception class of its own.
_HOST_WORDS = ("can't allocate memory", "not enough memory")


class OutOfMemory(RuntimeError):
    """Host or device had no memory left for a run; the message says what to try."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether the error is a refusal of memory, the host's or a device's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError | OutOfMemory):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _HOST_WORDS)


def advice(batch_size: int) -> str:
    """Say what to try after a batch of this size did not fit: the next smaller power of two."""
    if batch_size == 1:
        return "one example at a time did not fit: try a smaller network"
    return f"a batch of {batch_size} did not fit: try batch_size {1 << ((batch_size - 1).bit_length() - 1)}"
