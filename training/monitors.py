"""What is watched while a run trains: whether its loss runs away, and whether its gradients reach every layer.

Every step the loss is smoothed over n steps: those of some 64 examples, but never fewer than 5. A run has diverged when
the smoothed loss is above a limit and

    has found no new low there for 2 n steps, or
    has stood there for 6 n steps, or
    is FAR_OVER times as large.

One that overshot and is on its way back goes on, for that is how adaptive rules begin at high rates. Measured over some
sixty such runs that came to something, they stood above ten times the loss before training for up to 3 n steps; one that
needs 4 n, as Schedule-Free SGD does at a rate of 10, is given up.

Every SAMPLED steps the gradients and updates are looked at:

    grad_norm      |g|, over all parameters together
    update_ratio   |change of the parameters| / |parameters|
    reach          the smallest gradient of a weight over the largest of any parameter, by root mean squares

Their means over an epoch are measurements of it. Gradients vanish where a layer's are below VANISHED of the largest,
or all of them are below it, while the loss is still above half of what it was before training. That is told where it was
so in the last VANISHED_EPOCHS.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

SAMPLED = 10
SMOOTHED_EXAMPLES = 64
LEAST_STEPS = 5
WITHOUT_LOW = 2
OVER = 6
FAR_OVER = 1000.0
VANISHED = 1e-6
VANISHED_EPOCHS = 2
# How many numbers `look` gives.
READINGS = 3


@dataclass(slots=True)
class Gauges:
    """The readings of a run so far; numbers alone, so that a snapshot holds them as they are."""

    smooth: float = 0.0
    weight: float = 0.0
    over: int = 0
    since_low: int = 0
    lowest: float = math.inf
    grad_norm: float = 0.0
    update_ratio: float = 0.0
    reach: float = 0.0
    samples: int = 0
    vanished: int = 0  # epochs in a row
    notice: str | None = None

    def explodes(self, loss: float, *, limit: float, batch_size: int) -> bool:
        """Take the loss of one step; say whether the run has left the limit behind."""
        window = max(LEAST_STEPS, SMOOTHED_EXAMPLES / batch_size)
        beta = 1 - 1 / window
        self.smooth = beta * self.smooth + (1 - beta) * loss
        self.weight = beta * self.weight + (1 - beta)
        if self.smoothed <= limit:
            self.over, self.since_low, self.lowest = 0, 0, math.inf
            return False
        self.over += 1
        self.since_low = 0 if self.smoothed < self.lowest else self.since_low + 1
        self.lowest = min(self.lowest, self.smoothed)
        lost = self.since_low >= WITHOUT_LOW * window or self.over >= OVER * window
        return lost or self.smoothed > FAR_OVER * limit

    @property
    def smoothed(self) -> float:
        """The bias-corrected moving average of the loss."""
        return self.smooth / self.weight

    def take(self, reading: Sequence[float]) -> None:
        """Take what `look` saw of this run."""
        grad_norm, update_ratio, reach = reading
        self.grad_norm += grad_norm
        self.update_ratio += update_ratio
        self.reach += reach
        self.samples += 1

    def values(self) -> dict[str, float]:
        """Return the means over the epoch; nothing where they are not finite, or nobody looked."""
        if self.samples == 0:
            return {}
        means = {name: getattr(self, name) / self.samples for name in ("grad_norm", "update_ratio")}
        return {name: value for name, value in means.items() if math.isfinite(value)}

    def vanishing(self) -> str | None:
        """Say how gradients vanished in this epoch, None if they did not."""
        if self.samples == 0:
            return None
        norm, reach = self.grad_norm / self.samples, self.reach / self.samples
        if norm == 0 or reach == 0:
            return (
                "vanishing gradients: a layer gets none at all; its units may be dead, as at too high a learning rate"
            )
        if norm < VANISHED:
            return f"vanishing gradients: their norm is {norm:.1e}"
        if reach < VANISHED:
            return f"vanishing gradients: the smallest layer's are {reach:.1e} of the largest's"
        return None

    def next_epoch(self, notice: str | None) -> "Gauges":
        """Return the readings with which the next epoch begins; `notice` says how gradients vanished in this one."""
        vanished = self.vanished + 1 if notice else 0
        return replace(self, grad_norm=0.0, update_ratio=0.0, reach=0.0, samples=0, vanished=vanished, notice=notice)


def look(params: Sequence[Tensor], grads: Sequence[Tensor], updates: Sequence[Tensor], *, members: int = 0) -> Tensor:
    """Return grad_norm, update_ratio and reach of one step, shape (3,); of stacked members (`members` 1), (P, 3)."""
    by_tensor = norms(grads, members)
    gradient, change, size = (
        _together(by_tensor),
        _together(norms(updates, members)),
        _together(norms(params, members)),
    )
    ratio = torch.where(size > 0, change / size, 0.0)
    return torch.stack([gradient, ratio, _reach(grads, by_tensor, members)], dim=-1)


def norms(tensors: Sequence[Tensor], members: int) -> Tensor:
    """Return the norm of each tensor, shape (tensors,) or (tensors, P)."""
    return torch.stack([torch.linalg.vector_norm(each.reshape(*each.shape[:members], -1), dim=-1) for each in tensors])


def _together(by_tensor: Tensor) -> Tensor:
    together: Tensor = torch.linalg.vector_norm(by_tensor, dim=0)
    return together


def _reach(grads: Sequence[Tensor], by_tensor: Tensor, members: int) -> Tensor:
    """Return the smallest gradient of a weight over the largest of any parameter; 1 where there are no gradients."""
    elements = [max(1, grad[0].numel() if members else grad.numel()) for grad in grads]
    sizes = by_tensor / torch.tensor(elements, device=by_tensor.device).sqrt().reshape(-1, *[1] * members)
    weights = [place for place, grad in enumerate(grads) if grad.ndim - members > 1]
    largest = sizes.amax(dim=0)
    if not weights:
        return torch.ones_like(largest)
    return torch.where(largest > 0, sizes[weights].amin(dim=0) / largest, 1.0)
