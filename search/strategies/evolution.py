"""The covariance matrix adaptation evolution strategy (CMA-ES) as pure functions over a frozen state.

N. Hansen, "The CMA Evolution Strategy: A Tutorial" (arXiv:1604.00772), with negative weights. Points need not come from
the distribution that they move: each step is cut to the length that a drawn one could have (N. Hansen, "Injecting External
Solutions Into CMA-ES", arXiv:1110.4181), so results may arrive late, in any order, and from elsewhere.
"""

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

_SIGMA = 0.3
_NARROW = 1e-9  # of the unit cube: narrower than any parameter is worth
_ILL = 1e14


@dataclass(frozen=True, slots=True)
class Rates:
    """What follows from the number of dimensions and of points in a generation."""

    weights: Array  # (population,), from the best to the worst; positive ones sum to 1
    mass: float  # the effective number of the points with positive weights
    path: float
    damping: float
    covariance_path: float
    rank_one: float
    rank_mu: float
    length: float  # the expected length of a standard normal vector
    longest: float  # what steps are cut to


@dataclass(frozen=True, slots=True)
class Distribution:
    """A normal distribution over the unit cube, N(mean, sigma^2 covariance), and the two paths that it has come by."""

    mean: Array  # (n,)
    sigma: float
    covariance: Array  # (n, n)
    root: Array  # (n, n), the symmetric square root of the covariance
    inverse: Array  # (n, n), of the root
    sigma_path: Array  # (n,)
    covariance_path: Array  # (n,)
    generation: int = 0


def rates(dimensions: int, population: int) -> Rates:
    """Work out the rates of learning; population >= 4."""
    raw = np.log((population + 1) / 2) - np.log(np.arange(1, population + 1))
    good, bad = raw[raw > 0], raw[raw <= 0]
    mass, against = _mass(good), _mass(bad)
    rank_one = 2 / ((dimensions + 1.3) ** 2 + mass)
    rank_mu = min(1 - rank_one, 2 * (0.25 + mass + 1 / mass - 2) / ((dimensions + 2) ** 2 + mass))
    most = min(1 + rank_one / rank_mu, 1 + 2 * against / (mass + 2), (1 - rank_one - rank_mu) / (dimensions * rank_mu))
    path = (mass + 2) / (dimensions + mass + 5)
    return Rates(
        weights=np.concatenate([good / good.sum(), most * bad / np.abs(bad).sum()]),
        mass=mass,
        path=path,
        damping=1 + 2 * max(0.0, math.sqrt((mass - 1) / (dimensions + 1)) - 1) + path,
        covariance_path=(4 + mass / dimensions) / (dimensions + 4 + 2 * mass / dimensions),
        rank_one=rank_one,
        rank_mu=rank_mu,
        length=math.sqrt(dimensions) * (1 - 1 / (4 * dimensions) + 1 / (21 * dimensions**2)),
        longest=math.sqrt(dimensions) + 2 * dimensions / (dimensions + 2),
    )


def _mass(weights: Array) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())


def begin(mean: Array) -> Distribution:
    """Start round as wide as the cube lets it."""
    n = len(mean)
    return Distribution(mean, _SIGMA, np.eye(n), np.eye(n), np.eye(n), np.zeros(n), np.zeros(n))


def sample(distribution: Distribution, normals: Array, least: Array) -> Array:
    """Turn standard normal vectors (k, n) into points (k, n), no coordinate's deviation below `least` (n,)."""
    deviations = distribution.sigma * np.sqrt(np.diag(distribution.covariance))
    stretch = np.maximum(1.0, least / deviations)
    return distribution.mean + stretch * distribution.sigma * (normals @ distribution.root)


def advance(distribution: Distribution, points: Array, rates: Rates) -> Distribution:
    """Move on by a generation of points (population, n), the best one first."""
    steps = (points - distribution.mean) / distribution.sigma
    lengths = np.linalg.norm(steps @ distribution.inverse, axis=1)
    steps = steps * np.minimum(1.0, rates.longest / np.maximum(lengths, 1e-300))[:, None]
    lengths = np.minimum(lengths, rates.longest)
    good = rates.weights > 0
    move = rates.weights[good] @ steps[good]
    along = math.sqrt(rates.path * (2 - rates.path) * rates.mass)
    sigma_path = (1 - rates.path) * distribution.sigma_path + along * (distribution.inverse @ move)
    growth = float(np.linalg.norm(sigma_path)) / rates.length
    ages = distribution.generation + 1
    steady = growth / math.sqrt(1 - (1 - rates.path) ** (2 * ages)) < 1.4 + 2 / (len(move) + 1)
    moved = replace(
        distribution,
        mean=np.clip(distribution.mean + distribution.sigma * move, 0.0, 1.0),
        sigma=distribution.sigma * math.exp(min(1.0, rates.path / rates.damping * (growth - 1))),
        sigma_path=sigma_path,
        covariance_path=_covariance_path(distribution.covariance_path, move, rates, steady=steady),
        generation=ages,
    )
    return _stretched(moved, steps, lengths, rates, steady=steady)


def _covariance_path(path: Array, move: Array, rates: Rates, *, steady: bool) -> Array:
    along = math.sqrt(rates.covariance_path * (2 - rates.covariance_path) * rates.mass)
    return (1 - rates.covariance_path) * path + (along * move if steady else 0.0)


def _stretched(moved: Distribution, steps: Array, lengths: Array, rates: Rates, *, steady: bool) -> Distribution:
    """Adapt the covariance to the steps; those to the worst points shrink it, all by the same length."""
    n = len(moved.mean)
    shrink = n / np.maximum(lengths, 1e-300) ** 2
    weights = np.where(rates.weights > 0, rates.weights, rates.weights * np.minimum(shrink, 1e6))
    late = 0.0 if steady else rates.covariance_path * (2 - rates.covariance_path)
    keep = 1 + rates.rank_one * late - rates.rank_one - rates.rank_mu * rates.weights.sum()
    covariance = (
        keep * moved.covariance
        + rates.rank_one * np.outer(moved.covariance_path, moved.covariance_path)
        + rates.rank_mu * (steps.T * weights) @ steps
    )
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    values = np.maximum(values, values.max() / _ILL)
    # Symmetric roots, whose entries do not depend on the signs and order in which eigenvectors are found.
    return replace(
        moved,
        covariance=(vectors * values) @ vectors.T,
        root=(vectors * np.sqrt(values)) @ vectors.T,
        inverse=(vectors / np.sqrt(values)) @ vectors.T,
    )


def is_spent(distribution: Distribution) -> bool:
    """Say whether it has become too narrow to find anything more."""
    return bool(distribution.sigma * np.sqrt(np.diag(distribution.covariance).max()) < _NARROW)
