"""Which loops there are here: the compiled ones where numba is installed, torch's operations everywhere."""

from .interface import Kernels
from .plain import PlainKernels

try:
    from .threaded import CompiledKernels
except ImportError:  # numba is no part of what the optimizer core needs
    COMPILED = False
else:
    COMPILED = True


def kernels(*, threads: int = 1) -> Kernels:
    """Return the fastest loops that can be had here, on so many threads."""
    return CompiledKernels(threads) if COMPILED else PlainKernels()
