"""What is watched while a run trains: whether its loss runs away, and whether its gradients reach every layer.

Every step the loss is smoothed over some 64 examples, but never fewer than 5 steps. A run has diverged when the smoothed
loss stands above a limit for STEPS_OVER steps, or at once when it is FAR_OVER times as large: a short spike, from which
many runs come back, ends none. Every SAMPLED steps the gradients and updates are looked at:

    grad_norm      |g|, over all parameters together
    update_ratio   |change of the parameters| / |parameters|
    reach          the smallest gradient of a weight over the largest of any parameter, by root mean squares

Their means over an epoch are measurements of it. Gradients vanish where a layer's are below VANISHED of the largest,
or all of them are below it, while the loss is still above half of what it was before training.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SAMPLED = 10
SMOOTHED_EXAMPLES = 64
LEAST_STEPS = 5
STEPS_OVER = 10
FAR_OVER = 100.0
VANISHED = 1e-6


@dataclass(slots=True)
class Gauges:
    """The readings of a run so far; numbers alone, so that a snapshot holds them as they are."""

    smooth: float = 0.0
    weight: float = 0.0
    over: int = 0
    grad_norm: float = 0.0
    update_ratio: float = 0.0
    reach: float = 0.0
    samples: int = 0

    def explodes(self, loss: float, *, limit: float, batch_size: int) -> bool:
        """Take the loss of one step; say whether the run has left the limit behind."""
        beta = 1 - 1 / max(LEAST_STEPS, SMOOTHED_EXAMPLES / batch_size)
        self.smooth = beta * self.smooth + (1 - beta) * loss
        self.weight = beta * self.weight + (1 - beta)
        self.over = self.over + 1 if self.smoothed > limit else 0
        return self.over >= STEPS_OVER or self.smoothed > FAR_OVER * limit

    @property
    def smoothed(self) -> float:
        """The bias-corrected moving average of the loss."""
        return self.smooth / self.weight

    def sample(self, params: Sequence[Tensor], grads: Sequence[Tensor], updates: Sequence[Tensor]) -> None:
        """Take a look at one step."""
        gradient, change, size = (_norm(tensors) for tensors in (grads, updates, params))
        self.grad_norm += gradient
        self.update_ratio += change / size if size > 0 else 0.0
        self.reach += _reach(grads)
        self.samples += 1

    def values(self) -> dict[str, float]:
        """Return the means over the epoch; nothing where they are not finite."""
        means = {name: getattr(self, name) / self.samples for name in ("grad_norm", "update_ratio")}
        return {name: value for name, value in means.items() if math.isfinite(value)}

    def vanishing(self) -> str | None:
        """Say how gradients vanished in this epoch, None if they did not."""
        norm, reach = self.grad_norm / self.samples, self.reach / self.samples
        if norm < VANISHED:
            return f"vanishing gradients: their norm is {norm:.1e}"
        if reach < VANISHED:
            return f"vanishing gradients: the smallest layer's are {reach:.1e} of the largest's"
        return None

    def next_epoch(self) -> "Gauges":
        """Return the readings with which the next epoch begins."""
        return Gauges(smooth=self.smooth, weight=self.weight, over=self.over)


def _norm(tensors: Sequence[Tensor]) -> float:
    """Return the norm of all tensors together."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors]))
    return norm.item()


def _reach(grads: Sequence[Tensor]) -> float:
    """Return the smallest gradient of a weight over the largest of any parameter; 1 where there are no gradients."""
    sizes = torch.stack([grad.square().mean().sqrt() for grad in grads])
    largest = sizes.max().item()
    weights = [size for size, grad in zip(sizes.tolist(), grads, strict=True) if grad.ndim > 1]
    return min(weights) / largest if weights and largest > 0 else 1.0
