"""Data on the unit sphere: how inputs come there and back, and how they lie on it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import check_finite, named
from .thresholds import expected_share

# What is so much nearer to the mean than the farthest input differs from it by the rounding of what they were made of.
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Sphere:
    """x -> (x - center) / |x - center|, as learned from the data that a network is trained on."""

    center: Tensor

    @classmethod
    def of(cls, inputs: Tensor, *, centered: bool) -> "Sphere":
        """Learn the center of inputs (n, d): their mean, or 0. Raise ValueError for what is not finite."""
        check_finite(inputs, "input")
        # A sum in float32 would be off by many roundings, or beyond its numbers.
        center = inputs.mean(dim=0, dtype=torch.float64).to(inputs.dtype)
        return cls(center if centered else torch.zeros_like(center))

    def project(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs (n, d) on the sphere, and how far from the center they were (n,).

        Raise ValueError for one that lies in the center, and has no direction, and for what is not finite.
        """
        check_finite(inputs, "input")
        away = inputs - self.center
        # In float32 squares of very large or small numbers would be infinite or 0.
        lengths = away.double().norm(dim=1)
        beyond = lengths.to(inputs.dtype) == math.inf
        if beyond.any():
            raise ValueError(f"{named(beyond)} too far out for {inputs.dtype}: scale the data")
        nowhere = self._nowhere(away, lengths)
        if nowhere.any():
            what = "equal to the mean" if self.center.any() else "zero"
            raise ValueError(f"{named(nowhere)} {what}, and cannot lie on the unit sphere: leave out these examples")
        lengths = lengths.to(inputs.dtype)
        return away / lengths.unsqueeze(1), lengths

    def _nowhere(self, away: Tensor, lengths: Tensor) -> Tensor:
        """Say which inputs are in the center but for rounding (n,), so `away` from it, and by such `lengths`: in 0, zeros."""
        rounded = (away.abs() <= torch.finfo(away.dtype).eps * self.center.abs()).all(dim=1)
        return rounded | (lengths <= _NOTHING * lengths.max()) if self.center.any() else rounded

    def restore(self, points: Tensor, lengths: Tensor) -> Tensor:
        """Return what was projected to these points."""
        return points * lengths.unsqueeze(1) + self.center


@dataclass(frozen=True, slots=True)
class Report:
    """How inputs lie: `spread` is R = sqrt(d lambda_max(E x x^T)), 1 where they are uniform on the sphere, up to sqrt(d).

    `share` is which part of Gaussian neurons is expected to fire for one.
    """

    spread: float
    share: float


def report(points: Tensor, *, threshold: float) -> Report:
    """Describe points (n, d) on the sphere, before a network of this threshold.

    Source: the bounded laws of Daniely, "Neural networks learning and memorization with (almost) no over-parameterization",
    NeurIPS 2020, in which E <u, x>^2 <= R^2 / d for every direction u.
    """
    gram = points.T.double() @ points.double() / len(points)
    largest = torch.linalg.eigvalsh(gram)[-1].item()
    return Report((points.shape[1] * largest) ** 0.5, expected_share(threshold))
