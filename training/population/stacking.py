"""Whether a network can be stacked: tried on two members and two examples before anything is trained."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from training.data.examples import Data
from training.memory import is_out_of_memory
from training.networks.base import Network
from training.precision import DEFAULT_PRECISION

# Outputs of a member in a stack may differ from those alone by rounding, and by no more.
CLOSE: Mapping[str, float] = MappingProxyType({"float32": 1e-3, "tf32": 1e-2, "bfloat16": 0.05})
_MEMBERS = 2
_EXAMPLES = 2
_REASON_CHARACTERS = 160


def why_alone(network: Network, data: Data, *, precision: str = DEFAULT_PRECISION) -> str | None:
    """Return why this network cannot be trained in a lane, None if it can; `data` is on the device."""
    inputs, _ = data.train.rows(torch.arange(min(_EXAMPLES, len(data.train))))
    params = [network.init(Generator().manual_seed(seed)) for seed in range(_MEMBERS)]
    stacks = [torch.stack(parts).to(inputs.device).requires_grad_() for parts in zip(*params, strict=True)]
    try:
        together = network.stacked(stacks, inputs.expand(_MEMBERS, *inputs.shape))
        torch.autograd.grad(together.sum(), stacks, allow_unused=True)
    except Exception as error:  # whatever a user's network raises here says that it does not stack
        if is_out_of_memory(error):
            raise
        return f"the network cannot be stacked: {_first_line(error)}"
    apart = torch.stack([network.apply([stack[place] for stack in stacks], inputs) for place in range(_MEMBERS)])
    return (
        None if _close(together, apart, CLOSE[precision]) else "the network gives other outputs in a stack than alone"
    )


def _close(together: Tensor, apart: Tensor, close: float) -> bool:
    return together.shape == apart.shape and torch.allclose(together, apart, rtol=close, atol=close, equal_nan=True)


def _first_line(error: Exception) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:_REASON_CHARACTERS]
