"""Update rules written out as their papers have them, on plain numbers, one after the other.

Each is a generator: it takes the parameters to start from, their gradient as a function, the options and the rate of
each step, and gives after every step the parameters that are trained and those to evaluate.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

Numbers: TypeAlias = list[float]
Gradient: TypeAlias = Callable[[Numbers], Numbers]
Options: TypeAlias = Mapping[str, float]
Rate: TypeAlias = Callable[[int], float]
Path: TypeAlias = Iterator[tuple[Numbers, Numbers]]
Reference: TypeAlias = Callable[[Numbers, Gradient, Options, Rate], Path]


def lion(theta: Numbers, gradient: Gradient, options: Options, rate: Rate) -> Path:
    """Chen et al. 2023, algorithm 2."""
    beta1, beta2, decay = options["beta1"], options["beta2"], options["weight_decay"]
    m = [0.0] * len(theta)
    t = 0
    while True:
        t += 1
        g = gradient(theta)
        for i in range(len(theta)):
            c = beta1 * m[i] + (1 - beta1) * g[i]
            sign = (c > 0) - (c < 0)
            theta[i] = theta[i] - rate(t) * (sign + decay * theta[i])
            m[i] = beta2 * m[i] + (1 - beta2) * g[i]
        yield theta, theta


def ademamix(theta: Numbers, gradient: Gradient, options: Options, rate: Rate) -> Path:
    """Pagliardini et al. 2024, algorithm 1 with the schedulers of its section 3."""
    beta1, beta2, end = options["beta1"], options["beta2"], options["beta3"]
    warm = options["slow_warmup"]
    m1, m2, nu = [0.0] * len(theta), [0.0] * len(theta), [0.0] * len(theta)
    t = 0
    while True:
        t += 1
        alpha, beta3 = options["slow_weight"], end
        if t < warm:
            alpha = t * options["slow_weight"] / warm
            below = (1 - t / warm) * math.log(end) + t / warm * math.log(beta1)
            beta3 = min(math.exp(math.log(beta1) * math.log(end) / below), end)
        g = gradient(theta)
        for i in range(len(theta)):
            m1[i] = beta1 * m1[i] + (1 - beta1) * g[i]
            m2[i] = beta3 * m2[i] + (1 - beta3) * g[i]
            nu[i] = beta2 * nu[i] + (1 - beta2) * g[i] ** 2
            m1_hat, nu_hat = m1[i] / (1 - beta1**t), nu[i] / (1 - beta2**t)
            step = (m1_hat + alpha * m2[i]) / (math.sqrt(nu_hat) + options["eps"])
            theta[i] = theta[i] - rate(t) * (step + options["weight_decay"] * theta[i])
        yield theta, theta


def schedule_free_sgd(theta: Numbers, gradient: Gradient, options: Options, rate: Rate) -> Path:
    """Defazio et al. 2024, equations 1 to 3, weighted by the square of the largest rate so far."""
    beta, decay = options["momentum"], options["weight_decay"]
    x, y, z = list(theta), list(theta), list(theta)
    largest, total, t = 0.0, 0.0, 0
    while True:
        t += 1
        largest = max(largest, rate(t))
        total += largest**2
        c = largest**2 / total
        g = gradient(y)
        for i in range(len(y)):
            z[i] = z[i] - rate(t) * (g[i] + decay * y[i])
            x[i] = (1 - c) * x[i] + c * z[i]
            y[i] = (1 - beta) * z[i] + beta * x[i]
        yield y, x


def schedule_free_adamw(theta: Numbers, gradient: Gradient, options: Options, rate: Rate) -> Path:
    """Defazio et al. 2024, algorithm 1, weighted by the square of the largest rate so far."""
    beta1, beta2, decay = options["beta1"], options["beta2"], options["weight_decay"]
    x, y, z, v = list(theta), list(theta), list(theta), [0.0] * len(theta)
    largest, total, t = 0.0, 0.0, 0
    while True:
        t += 1
        gamma = rate(t) * math.sqrt(1 - beta2**t)
        largest = max(largest, gamma)
        total += largest**2
        c = largest**2 / total
        g = gradient(y)
        for i in range(len(y)):
            v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
            z[i] = z[i] - gamma * g[i] / (math.sqrt(v[i]) + options["eps"]) - gamma * decay * y[i]
            x[i] = (1 - c) * x[i] + c * z[i]
            y[i] = (1 - beta1) * z[i] + beta1 * x[i]
        yield y, x


def prodigy(theta: Numbers, gradient: Gradient, options: Options, rate: Rate) -> Path:
    """Mishchenko and Defazio 2024, algorithm 4, with d_coef, growth_rate and the switches of the authors' code."""
    beta1, beta2 = options["beta1"], options["beta2"]
    beta3 = options["beta3"] or math.sqrt(beta2)
    growth = options["growth_rate"] or math.inf
    d = d_max = d0 = options["d0"]
    start, size = list(theta), len(theta)
    m, v, s, r = [0.0] * size, [0.0] * size, [0.0] * size, 0.0
    t = 0
    while True:
        t += 1
        gamma = rate(t)
        if options["use_bias_correction"]:
            gamma *= math.sqrt(1 - beta2**t) / (1 - beta1**t)
        g = gradient(theta)
        r = beta3 * r + gamma * d**2 * sum(g[i] * (start[i] - theta[i]) for i in range(size))
        for i in range(size):
            m[i] = beta1 * m[i] + (1 - beta1) * d * g[i]
            v[i] = beta2 * v[i] + (1 - beta2) * d**2 * g[i] ** 2
            s[i] = beta3 * s[i] + (1 if options["safeguard_warmup"] else gamma) * d**2 * g[i]
            step = m[i] / (math.sqrt(v[i]) + d * options["eps"]) + options["weight_decay"] * theta[i]
            theta[i] = theta[i] - gamma * d * step
        d_hat = options["d_coef"] * r / sum(abs(value) for value in s)
        if d == d0:
            d = max(d, d_hat)
        d_max = max(d_max, d_hat)
        d = min(d_max, d * growth)
        yield theta, theta


ELEMENTWISE: Mapping[str, Reference] = {
    "lion": lion,
    "ademamix": ademamix,
    "schedule_free_sgd": schedule_free_sgd,
    "schedule_free_adamw": schedule_free_adamw,
    "prodigy": prodigy,
}
