"""How much memory is free, and running out of it: how torch says so, and what would need less."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

# How torch words a refusal of the host's memory, which has no exception class of its own.
_HOST_WORDS = ("can't allocate memory", "not enough memory")
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")

SMALLER = "try a smaller network"


class OutOfMemory(RuntimeError):
    """Host or device had no memory left for a run; the message says what to try."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether the error is a refusal of memory, the host's or a device's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError | OutOfMemory):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _HOST_WORDS)


def advice(batch_size: int, *, whole: bool = False) -> str:
    """Say what to try after a batch of this size, or the `whole` of the examples, did not fit: the next power of two."""
    if batch_size == 1:
        return f"one example at a time did not fit: {SMALLER}"
    smaller = 1 << ((batch_size - 1).bit_length() - 1)
    mode = "batch_mode mini and " if whole else ""
    return f"a batch of {batch_size} did not fit: try {mode}batch_size {smaller}"


@contextmanager
def advising(text: str) -> Iterator[None]:
    """Turn a refusal of memory into OutOfMemory with this advice, unless what ran inside had its own."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
            raise
        raise OutOfMemory(text) from error


def free_bytes(device: torch.device) -> int:
    """Return how much memory can still be had on the device, or on this host."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines()) if _MEMINFO.exists() else {}
    host = int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else 2**31
    return min(host, _group_free())


def _group_free() -> int:
    """Return what the control group of this process leaves, where it has a limit."""
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return 2**62
    return 2**62 if limit == "max" else max(0, int(limit) - used)
