"""The gradient-noise scale: how many examples a mini-batch is worth having.

    B = tr(Sigma) / |G|^2

G is the gradient over all data, Sigma the covariance of the gradients of single examples. In batches far smaller than B
noise decides a step, and twice the examples do nearly the work of two steps; in far larger ones further examples are
wasted. Source: McCandlish et al., An Empirical Model of Large-Batch Training, 2018, 2.2 and appendix A.
"""

from typing import NamedTuple

from torch import Tensor


class NoiseScale(NamedTuple):
    """`signal` is |G|^2, `noise` the trace of Sigma, both (*)."""

    signal: Tensor
    noise: Tensor

    @property
    def scale(self) -> Tensor:
        """B, in examples; beyond any where there is no signal."""
        return self.noise / self.signal


class Moments(NamedTuple):
    """Of gradients of single examples: how many, their sum (*, d), and the sum of their squared lengths (*)."""

    examples: int
    total: Tensor
    squares: Tensor


def moments(grads: Tensor) -> Moments:
    """Take in gradients of examples, rows (*, n, d)."""
    return Moments(grads.shape[-2], grads.sum(dim=-2), grads.square().sum(dim=(-2, -1)))


def together(first: Moments, second: Moments) -> Moments:
    """Return the moments of both sets of examples."""
    return Moments(first.examples + second.examples, first.total + second.total, first.squares + second.squares)


def of_all(found: Moments) -> NoiseScale:
    """Return the noise scale where the examples are all there are: it is exact."""
    signal = (found.total / found.examples).square().sum(dim=-1)
    return NoiseScale(signal, found.squares / found.examples - signal)


def of_sample(found: Moments) -> NoiseScale:
    """Return estimates without bias where the examples, at least two, are a sample of many more."""
    seen, n = of_all(found), found.examples
    noise = seen.noise * n / (n - 1)
    return NoiseScale(seen.signal - noise / n, noise)


def of_two_sizes(small: Tensor, large: Tensor, *, sizes: tuple[int, int]) -> NoiseScale:
    """Return estimates without bias from squared lengths (*, steps) of gradients of batches of two sizes.

    The more steps, the better: a mean is taken over them before anything is divided.
    """
    few, many = sizes
    less, more = small.mean(dim=-1), large.mean(dim=-1)
    signal = (many * more - few * less) / (many - few)
    return NoiseScale(signal, (less - more) / (1 / few - 1 / many))
