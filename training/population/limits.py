"""How many members memory holds: what one takes, by its shapes and by what was seen, against what is free."""

from pathlib import Path

import torch

from training.course import Run

# A lane may take this share of what is free.
FREE_SHARE = 0.5
# Tensors like its parameters that a member needs in a step: themselves, gradients twice, updates, what rules compute.
COPIES = 8
# More members than this have paid nowhere.
MOST = 1024
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def most_members(run: Run, *, members: int, example_bytes: int) -> int:
    """Return how many members such as `run` there is memory for, `members` of them being there already.

    An example of a batch is taken to need `example_bytes`.
    """
    floats = sum(tensor.numel() for tensor in run.course.network.init(torch.Generator()))
    rule = _numbers(run.course.rule.init([torch.empty(floats)]))
    member = 4 * (COPIES * floats + 2 * rule) + run.course.batch_size * example_bytes
    return max(1, min(MOST, members + int(FREE_SHARE * free_bytes(run.course.device) / member)))


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


def _numbers(state: object) -> int:
    if isinstance(state, torch.Tensor):
        return state.numel()
    return sum(_numbers(part) for part in state) if isinstance(state, list | tuple) else 0
