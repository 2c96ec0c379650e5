"""Muon and SOAP as their papers have them, for one list of parameters in full precision.

Each is a generator: it takes the parameters to start from, their gradients as a function, the options and the rate of
each step, and gives the parameters after every step. Vectors are stepped by AdamW.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

Gradients: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
Options: TypeAlias = Mapping[str, float]
Rate: TypeAlias = Callable[[int], float]
Reference: TypeAlias = Callable[[list[Tensor], Gradients, Options, Rate], Iterator[list[Tensor]]]


class Adam:
    """The direction of Adam for one parameter."""

    def __init__(self, like: Tensor, beta1: float, beta2: float, eps: float) -> None:
        self.m, self.v, self.t = torch.zeros_like(like), torch.zeros_like(like), 0
        self.beta1, self.beta2, self.eps = beta1, beta2, eps

    def direction(self, g: Tensor) -> Tensor:
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * g
        self.v = self.beta2 * self.v + (1 - self.beta2) * g**2
        m_hat, v_hat = self.m / (1 - self.beta1**self.t), self.v / (1 - self.beta2**self.t)
        return m_hat / (v_hat.sqrt() + self.eps)


def newton_schulz(matrix: Tensor, steps: int, eps: float) -> Tensor:
    """Jordan et al. 2024, the function of their post."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / max(math.sqrt((matrix**2).sum().item()), eps)
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def muon(params: list[Tensor], gradients: Gradients, options: Options, rate: Rate) -> Iterator[list[Tensor]]:
    momentum, decay = options["momentum"], options["weight_decay"]
    means = [torch.zeros_like(param) for param in params]
    adams = [Adam(param, options["beta1"], options["beta2"], options["adamw_eps"]) for param in params]
    t = 0
    while True:
        t += 1
        stepped = []
        for i, g in enumerate(gradients(params)):
            w = params[i]
            if w.ndim < 2:
                own = rate(t) * options["adamw_ratio"]
                stepped.append(w - own * decay * w - own * adams[i].direction(g))
                continue
            means[i] = momentum * means[i] + (1 - momentum) * g
            ahead = momentum * means[i] + (1 - momentum) * g if options["nesterov"] else means[i]
            rows = w.shape[0]
            columns = w.numel() // rows
            o = newton_schulz(ahead.reshape(rows, columns), int(options["ns_steps"]), options["eps"]).reshape(w.shape)
            size = 0.2 * math.sqrt(max(rows, columns)) if options["match_rms"] else math.sqrt(max(1, rows / columns))
            stepped.append(w - rate(t) * decay * w - rate(t) * size * o)
        params = stepped
        yield params


class Side:
    """A covariance of gradients and its eigenbasis: L and Ql, or R and Qr; signs of eigenvectors are drawn."""

    def __init__(self, length: int, beta: float, *, identity: bool) -> None:
        self.covariance, self.basis = torch.zeros(length, length).double(), torch.eye(length).double()
        self.beta, self.identity = beta, identity

    def learn(self, outer: Tensor) -> None:
        self.covariance = self.beta * self.covariance + (1 - self.beta) * outer

    def settled(self) -> Tensor:
        length = len(self.covariance)
        mean = sum(self.covariance[i, i] for i in range(length)) / length
        ramp = torch.tensor([1 + 0.5 * i / max(length - 1, 1) for i in range(length)]).double()
        return self.covariance + 1e-6 * mean * torch.diag(ramp)

    def decompose(self) -> None:
        if not self.identity:
            values, vectors = torch.linalg.eigh(self.settled())
            self.basis = vectors[:, values.argsort(descending=True)] * self.signs()

    def refresh(self) -> None:
        if not self.identity:
            self.basis = torch.linalg.qr(self.settled() @ self.basis).Q * self.signs()

    def signs(self) -> Tensor:
        return torch.randint(0, 2, (len(self.covariance),)) * 2.0 - 1


def soap(params: list[Tensor], gradients: Gradients, options: Options, rate: Rate) -> Iterator[list[Tensor]]:
    """Vyas et al. 2024, algorithm 3, whose first step only makes the bases, as in the authors' code."""
    beta1, beta2, decay = options["beta1"], options["beta2"], options["weight_decay"]
    shampoo_beta = options["shampoo_beta"] or beta2
    flat = [param.reshape(param.shape[0], -1) if param.ndim > 1 else param.reshape(-1, 1) for param in params]
    sides = [
        [Side(length, shampoo_beta, identity=param.ndim < 2 or length > options["max_dim"]) for length in matrix.shape]
        for param, matrix in zip(params, flat, strict=True)
    ]
    m, v = [torch.zeros_like(matrix) for matrix in flat], [torch.zeros_like(matrix) for matrix in flat]
    for t in range(10**9):
        stepped = []
        for i, gradient in enumerate(gradients(params)):
            w, g, (left, right) = params[i].reshape(flat[i].shape), gradient.reshape(flat[i].shape), sides[i]
            update = torch.zeros_like(w)
            if t > 0:
                ql, qr = left.basis, right.basis
                m[i] = beta1 * m[i] + (1 - beta1) * g
                v[i] = beta2 * v[i] + (1 - beta2) * (ql.T @ g @ qr) ** 2
                m_hat, v_hat = ql.T @ m[i] @ qr / (1 - beta1**t), v[i] / (1 - beta2**t)
                update = ql @ (m_hat / (v_hat.sqrt() + options["eps"])) @ qr.T
            stepped.append((w - rate(t + 1) * (decay * w + update)).reshape(params[i].shape))
            left.learn(g @ g.T)
            right.learn(g.T @ g)
            for side in (left, right):
                if t == 0:
                    side.decompose()
                elif t % options["precondition_frequency"] == 0:
                    side.refresh()
        params = stepped
        yield params


MATRIX: Mapping[str, Reference] = {"muon": muon, "soap": soap}
