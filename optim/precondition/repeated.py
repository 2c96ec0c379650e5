"""A second look at a mini-batch that draws what the first one drew, such as which units drop out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def generators(tensors: Sequence[Tensor]) -> dict[torch.device, Tensor]:
    """Return how far torch's own generators have come: the CPU's and those of the GPUs where tensors are."""
    found = {torch.device("cpu"): torch.get_rng_state()}
    return found | {device: torch.cuda.get_rng_state(device) for device in {t.device for t in tensors if t.is_cuda}}


@contextmanager
def drawing_again(states: dict[torch.device, Tensor]) -> Iterator[None]:
    """Draw as from these states; what is drawn afterwards is as if nothing had been drawn here."""
    gpus = [device for device in states if device.type == "cuda"]
    with torch.random.fork_rng(devices=gpus):
        for device, state in states.items():
            if device.type == "cuda":
                torch.cuda.set_rng_state(state, device)
            else:
                torch.set_rng_state(state)
        yield
