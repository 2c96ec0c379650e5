"""How many members memory holds: what one takes, by its shapes and by what was seen, against what is free."""

from pathlib import Path

import torch

# A lane may take this share of what is free.
FREE_SHARE = 0.5
# Tensors like its parameters that a member needs in a step: themselves, gradients twice, updates, the state of a rule
# before and after, what rules compute.
COPIES = 12
# More members than this have paid nowhere.
MOST = 1024
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def most_members(device: torch.device, *, members: int, floats: int, batch: int) -> int:
    """Return how many members there is memory for on the device, `members` of them being there already.

    One has so many `floats` as parameters, and its batch takes so many numbers on its way through the network.
    """
    member = 4 * (COPIES * floats + batch)
    return max(1, min(MOST, members + int(FREE_SHARE * free_bytes(device) / member)))


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
