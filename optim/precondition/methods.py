"""Every method of preconditioning by its catalog name, on three axes: which curvature, held as what, solved how."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from ..transform import Rule
from .algorithms.ekfac import ekfac
from .algorithms.full import full
from .algorithms.kbfgs import kbfgs
from .algorithms.matrix_free import curveball, hessian_free, neumann
from .algorithms.natural import natural
from .algorithms.newton import absolute_newton, newton
from .algorithms.psgd import psgd, psgd_full
from .algorithms.seng import seng
from .algorithms.shampoo import shampoo
from .algorithms.skfac import skfac
from .algorithms.smw import smw_ngd
from .layers import Layer
from .matrices.block import BLOCK
from .matrices.diagonal import DIAGONAL
from .matrices.kronecker import KRONECKER
from .matrices.representation import Representation
from .matrices.tokens import TOKENS
from .matrices.unit_wise import UNIT_WISE
from .modules.kinds import KINDS, MATRIX

Link: TypeAlias = Callable[[Sequence[Layer]], Rule[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """`link(layers)` makes the rule that preconditions gradients; any rule may step along them.

    `formula` says what becomes of gradients g, or of a layer's G, with damping lambda. Those that the catalog calls layered
    see nothing of parameters that are in no layer of the `kinds` they know, and leave those to the plain gradient. One that
    `looks` asks about the mini-batch, and is given a closure; the others know gradients alone, and step as any optimizer
    does.
    """

    curvature: str
    representation: str
    solver: str
    formula: str
    link: Link
    kinds: Collection[str] = tuple(MATRIX)
    looks: bool = True


def known(method: str, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return those of the layers that a method is given: of the kinds that it knows."""
    return tuple(layer for layer in layers if layer.kind in METHODS[method].kinds)


def asks(name: str) -> bool:
    """Say whether the optimizer of this name asks about mini-batches."""
    return name in METHODS and METHODS[name].looks


def _layer_by_layer(
    representations: Mapping[str, Representation],
    record: tuple[str, str, str, str],
    rule: Callable[..., Rule[Any]] = natural,
) -> Method:
    """Return the natural gradient, or a relative of it, with these representations by the kinds of layers."""
    return Method(*record, lambda layers: rule(layers, representations), kinds=tuple(representations))


# One by one, elements are scales and shifts: where both are, as in normalisations, each pair is a block.
_KRONECKER: Mapping[str, Representation] = {
    "linear": KRONECKER,
    "convolution": KRONECKER,
    "embedding": TOKENS,
    "norm": UNIT_WISE,
    "scale": DIAGONAL,
    "bias": DIAGONAL,
}

_EIGENBASIS = ("Fisher", "Kronecker eigenbasis", "eigendecomposition", "G <- U_B [(U_B^T G U_A) / (S + lambda)] U_A^T")
_FACTORS = "G <- (B + lambda_B I)^-1 G (A + lambda_A I)^-1"
_BLOCKS = "g <- (F_block + lambda I)^-1 g"

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "kfac": _layer_by_layer(_KRONECKER, ("Fisher", "Kronecker", "Cholesky", _FACTORS)),
        "skfac": _layer_by_layer(_KRONECKER, ("Fisher", "Kronecker", "Woodbury", _FACTORS), skfac),
        "ekfac": _layer_by_layer(_KRONECKER, _EIGENBASIS, ekfac),
        "ngd_full": Method("Fisher", "full", "Cholesky", "g <- (F + lambda I)^-1 g", full, kinds=tuple(KINDS)),
        "ngd_layer": _layer_by_layer(dict.fromkeys(KINDS, BLOCK), ("Fisher", "layer block", "Cholesky", _BLOCKS)),
        "ngd_unit": _layer_by_layer(dict.fromkeys(KINDS, UNIT_WISE), ("Fisher", "unit-wise", "Cholesky", _BLOCKS)),
        "ngd_diagonal": _layer_by_layer(
            dict.fromkeys(KINDS, DIAGONAL), ("Fisher", "diagonal", "none", "g <- g / (diag F + lambda)")
        ),
        "smw_ngd": Method(
            "empirical Fisher", "Gram", "Woodbury",
            "g <- (g - U (lambda I + U^T U)^-1 U^T g) / lambda, F = U U^T",
            smw_ngd, kinds=tuple(KINDS),
        ),
        "seng": Method(
            "empirical Fisher", "low rank", "Woodbury",
            "g <- (g - U (lambda I + U^T U)^-1 U^T g) / lambda, layer by layer, U sketched",
            seng, kinds=tuple(KINDS),
        ),
        "shampoo": Method(
            "batch gradient", "Kronecker", "eigendecomposition", "G <- L^-1/4 G R^-1/4, L = E[G G^T], R = E[G^T G]",
            shampoo, looks=False,
        ),
        "psgd": Method(
            "absolute Hessian", "Kronecker", "learned by SGD", "G <- Q_l^T Q_l G Q_r^T Q_r", psgd
        ),
        "psgd_full": Method("absolute Hessian", "full", "learned by SGD", "g <- Q^T Q g", psgd_full),
        "kbfgs": Method("BFGS", "Kronecker", "BFGS", "G <- H_B G H_A", kbfgs),
        "newton": Method("Hessian", "full", "eigendecomposition", "g <- (H + lambda I)^-1 g", newton),
        "absolute_newton": Method(
            "absolute Hessian", "full", "eigendecomposition", "g <- (|H| + lambda I)^-1 g", absolute_newton
        ),
        "hessian_free": Method(
            "Gauss-Newton", "matrix-free", "conjugate gradients", "g <- (C + lambda I)^-1 g", hessian_free
        ),
        "neumann": Method(
            "Gauss-Newton", "matrix-free", "Neumann", "g <- sum_k (I - a (C + lambda I))^k a g", neumann
        ),
        "curveball": Method(
            "Gauss-Newton", "matrix-free", "none", "x <- rho x + beta (g - C x - lambda x),  g <- x", curveball
        ),
    }
)  # fmt: skip
