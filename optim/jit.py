"""How loops are compiled: with numba, at the first call, and kept beside their source for the next process."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

# Not "fast" as a whole: what is no number, or infinite, must stay so, because it tells that a run has diverged.
_FAST = {"reassoc", "contract", "nsz", "arcp"}


def compiled(function: FunctionT) -> FunctionT:
    """Return the function compiled; while it runs, other threads do too."""
    try:
        return cast("FunctionT", _jit(function, cache=True))
    except RuntimeError:
        # There is no place to keep it, neither beside the source nor at home: compiled anew by each process.
        return cast("FunctionT", _jit(function, cache=False))


def _jit(function: FunctionT, *, cache: bool) -> object:
    return njit(nogil=True, cache=cache, error_model="numpy", fastmath=_FAST)(function)
