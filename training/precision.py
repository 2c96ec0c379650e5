"""In which precision a network is applied: parameters, gradients and optimizers are float32 in all of them.

    float32    as written
    tf32       matrix products of float32 on CUDA devices keep 10 bits of their factors' mantissas; elsewhere as float32
    bfloat16   layers that torch.autocast knows compute in bfloat16, forth and back, with 8 bits

A run in bfloat16 follows the one in float32 to about a percent of its loss; tests say how closely.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor

from training.networks.base import Network, Params

DEFAULT_PRECISION = "float32"
# The name, and what torch.set_float32_matmul_precision calls it.
PRECISIONS: Mapping[str, str] = MappingProxyType({"float32": "highest", "tf32": "high", "bfloat16": "highest"})


def check_precision(name: object) -> str:
    """Return the name of a precision. Raise ValueError listing the valid ones."""
    if not isinstance(name, str) or name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}; valid: {', '.join(PRECISIONS)}")
    return name


def in_precision(network: Network, name: str, device: torch.device) -> Network:
    """Return the network as it is applied in this precision on this device; outputs are float32."""
    if name != "bfloat16":
        return network
    return replace(network, apply=_autocast(network.apply, device), slopes=None, activation=None)


def _autocast(apply: Callable[[Params, Tensor], Tensor], device: torch.device) -> Callable[[Params, Tensor], Tensor]:
    def applied(params: Params, inputs: Tensor) -> Tensor:
        # Not cached: a cast that one call keeps would be another's stale parameters.
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            return apply(params, inputs).float()

    return applied


@contextmanager
def products_in(name: str) -> Iterator[None]:
    """Take matrix products, forth and back, as this precision has them."""
    before = torch.get_float32_matmul_precision()
    if PRECISIONS[name] == "highest" or not torch.cuda.is_available():
        yield
        return
    torch.set_float32_matmul_precision(PRECISIONS[name])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
