"""How many members memory holds: what one takes, by its shapes and by what was seen, against what is free."""

import torch

from training.memory import free_bytes

# A lane may take this share of what is free.
FREE_SHARE = 0.5
# Tensors like its parameters that a member needs in a step: themselves, gradients twice, updates, the state of a rule
# before and after, what rules compute.
COPIES = 12
# More members than this have paid nowhere.
MOST = 1024


def most_members(device: torch.device, *, members: int, floats: int, batch: int) -> int:
    """Return how many members there is memory for on the device, `members` of them being there already.

    One has so many `floats` as parameters, and its batch takes so many numbers on its way through the network.
    """
    member = 4 * (COPIES * floats + batch)
    return max(1, min(MOST, members + int(FREE_SHARE * free_bytes(device) / member)))
