"""Every rule against torch.optim, and a stacked population against its members run alone."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from optim import catalog
from optim.build import build, build_rule
from optim.rule_table import RULES
from optim.transform import align, stack

Surface = Callable[[Tensor], Tensor]

STEPS = 300

# The options are ones under which 300 steps are stable: where a run amplifies differences, rounding alone parts
# torch's own variants from each other. Each row: name, our options, torch's class, torch's options
CASES: list[tuple[str, dict[str, float], type[torch.optim.Optimizer], dict[str, Any]]] = [
    ("sgd", {"lr": 1e-3}, torch.optim.SGD, {"lr": 1e-3}),
    ("sgd", {"lr": 1e-3, "weight_decay": 0.1}, torch.optim.SGD, {"lr": 1e-3, "weight_decay": 0.1}),
    ("momentum", {"momentum": 0.9}, torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
    (
        "momentum",
        {"lr": 2e-4, "momentum": 0.95, "weight_decay": 0.1},
        torch.optim.SGD,
        {"lr": 2e-4, "momentum": 0.95, "weight_decay": 0.1},
    ),
    ("nesterov", {"lr": 5e-4}, torch.optim.SGD, {"lr": 5e-4, "momentum": 0.9, "nesterov": True}),
    (
        "nesterov",
        {"lr": 5e-4, "momentum": 0.8, "weight_decay": 0.1},
        torch.optim.SGD,
        {"lr": 5e-4, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
    ),
    ("adagrad", {}, torch.optim.Adagrad, {}),
    (
        "adagrad",
        {"lr": 0.3, "lr_decay": 0.01, "initial_accumulator_value": 0.1, "eps": 1e-6, "weight_decay": 0.1},
        torch.optim.Adagrad,
        {"lr": 0.3, "lr_decay": 0.01, "initial_accumulator_value": 0.1, "eps": 1e-6, "weight_decay": 0.1},
    ),
    ("rmsprop", {}, torch.optim.RMSprop, {}),
    (
        "rmsprop",
        {"lr": 1e-3, "alpha": 0.9, "momentum": 0.5, "eps": 1e-3, "weight_decay": 0.1},
        torch.optim.RMSprop,
        {"lr": 1e-3, "alpha": 0.9, "momentum": 0.5, "eps": 1e-3, "weight_decay": 0.1},
    ),
    ("adam", {}, torch.optim.Adam, {}),
    (
        "adam",
        {"lr": 5e-3, "beta1": 0.8, "beta2": 0.99, "eps": 1e-4, "weight_decay": 0.1},
        torch.optim.Adam,
        {"lr": 5e-3, "betas": (0.8, 0.99), "eps": 1e-4, "weight_decay": 0.1},
    ),
    ("adamw", {}, torch.optim.AdamW, {}),
    (
        "adamw",
        {"lr": 2e-3, "beta1": 0.8, "beta2": 0.99, "eps": 1e-4, "weight_decay": 0.3},
        torch.optim.AdamW,
        {"lr": 2e-3, "betas": (0.8, 0.99), "eps": 1e-4, "weight_decay": 0.3},
    ),
]
IDS = [f"{case[0]}-{'options' if len(case[1]) > 1 else 'plain'}" for case in CASES]


def quadratic(point: Tensor) -> Tensor:
    x, y = point[0], point[1]
    return (x**2 + 100 * y**2) / 2


def beale(point: Tensor) -> Tensor:
    x, y = point[0], point[1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def saddle(point: Tensor) -> Tensor:
    x, y = point[0], point[1]
    return (x**2 - y**2) / 2 + y**4 / 4


SURFACES: dict[str, tuple[Surface, tuple[float, float]]] = {
    "quadratic": (quadratic, (3.0, 1.0)),
    "beale": (beale, (1.0, 1.0)),
    "saddle": (saddle, (1.0, 1e-3)),
}


def descend(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], params: list[Tensor]) -> Tensor:
    """Take STEPS steps and return every parameter after each of them."""
    path = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        path.append(torch.cat([param.detach().flatten() for param in params]))
    return torch.stack(path)


def rerun(rule: str, hyper: Mapping[str, Tensor], params: list[Tensor], grad: Callable[..., Any]) -> list[Tensor]:
    """Take STEPS steps with the rule itself."""
    update, state = build_rule(rule).update, build_rule(rule).init(params)
    for _ in range(STEPS):
        updates, state = update(grad(params), state, params, hyper)
        params = [param + step for param, step in zip(params, updates, strict=True)]
    return params


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(("name", "options", "peer", "peer_options"), CASES, ids=IDS)
def test_equals_torch_on_surfaces(
    name: str, options: dict[str, float], peer: type[torch.optim.Optimizer], peer_options: dict[str, Any], surface: str
) -> None:
    function, start = SURFACES[surface]
    ours, theirs = (torch.tensor(start, dtype=torch.float64, requires_grad=True) for _ in range(2))
    path = descend(build(name, [ours], **options), lambda: function(ours), [ours])
    reference = descend(peer([theirs], **peer_options), lambda: function(theirs), [theirs])
    assert not torch.equal(reference[-1], reference[0])
    assert (path - reference).abs().max() <= 1e-12


@pytest.mark.parametrize(("name", "options", "peer", "peer_options"), CASES, ids=IDS)
def test_equals_torch_on_a_network(
    name: str, options: dict[str, float], peer: type[torch.optim.Optimizer], peer_options: dict[str, Any]
) -> None:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(32, 4, generator=generator, dtype=torch.float64)
    y = torch.sin(x.sum(dim=1, keepdim=True))

    def run(make: Callable[[list[Tensor]], torch.optim.Optimizer]) -> Tensor:
        torch.manual_seed(7)
        network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
        params: list[Tensor] = list(network.parameters())

        def loss() -> Tensor:
            return torch.nn.functional.mse_loss(network(x), y)

        return descend(make(params), loss, params)

    ours = run(lambda params: build(name, params, **options))
    theirs = run(lambda params: peer(params, **peer_options))
    assert (ours - theirs).abs().max() <= 1e-12


def test_every_catalog_name_is_compared() -> None:
    assert {case[0] for case in CASES} == set(catalog.OPTIMIZERS) == set(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_population_equals_separate_runs(name: str) -> None:
    """Members differ in every option, and their steps are taken by one call of the rule."""
    members = 5
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(members, 3, 4, generator=generator, dtype=torch.float64)
    biases = torch.randn(members, 3, generator=generator, dtype=torch.float64)
    options = catalog.OPTIMIZERS[name].options
    hyper = {option.name: spread(option, members) for option in options}

    def grad(params: list[Tensor]) -> list[Tensor]:
        return [torch.tanh(params[0] - 1), torch.tanh(params[1] + 0.5)]

    rule = build_rule(name)
    state = stack([rule.init([weights[i], biases[i]]) for i in range(members)])
    params = [weights, biases]
    for _ in range(STEPS):
        updates, state = rule.update(grad(params), state, params, hyper)
        params = [param + step for param, step in zip(params, updates, strict=True)]
    for i in range(members):
        alone = rerun(name, {key: value[i] for key, value in hyper.items()}, [weights[i], biases[i]], grad)
        for together, single in zip(params, alone, strict=True):
            assert (together[i] - single).abs().max() <= 1e-12


def spread(option: catalog.Option, members: int) -> Tensor:
    low = option.search_low if option.search_low is not None else option.low
    high = option.search_high if option.search_high is not None else low + 0.1
    return torch.linspace(low, min(high, 0.99), members, dtype=torch.float64)


@pytest.mark.parametrize("name", sorted(RULES))
def test_update_changes_nothing_it_was_given(name: str) -> None:
    rule = build_rule(name)
    hyper = {option.name: torch.tensor(option.default) for option in catalog.OPTIMIZERS[name].options}
    params, grads = [torch.ones(2, 2)], [torch.full((2, 2), 0.5)]
    state = rule.init(params)
    first, _ = rule.update(grads, state, params, hyper)
    second, _ = rule.update(grads, state, params, hyper)
    assert torch.equal(first[0], second[0])
    assert torch.equal(params[0], torch.ones(2, 2))
    assert torch.equal(grads[0], torch.full((2, 2), 0.5))


def test_adagrad_rates_never_grow() -> None:
    rule = build_rule("adagrad")
    hyper = {option.name: torch.tensor(option.default) for option in catalog.OPTIMIZERS["adagrad"].options}
    params = [torch.zeros(3)]
    state, last = rule.init(params), torch.full((3,), torch.inf)
    for step in range(20):
        grad = torch.tensor([1.0, -2.0, 0.1]) * (step + 1)
        updates, state = rule.update([grad], state, params, hyper)
        rate = (updates[0] / grad).abs()
        assert bool((rate <= last).all())
        last = rate


def test_adam_first_step_is_the_learning_rate() -> None:
    rule = build_rule("adam")
    hyper = {option.name: torch.tensor(option.default) for option in catalog.OPTIMIZERS["adam"].options}
    params = [torch.zeros(2, dtype=torch.float64)]
    [update], _ = rule.update([torch.tensor([5.0, -0.01], dtype=torch.float64)], rule.init(params), params, hyper)
    assert update.tolist() == pytest.approx([-1e-3, 1e-3], rel=1e-5)


def test_align_adds_trailing_axes_and_casts_members_only() -> None:
    like = torch.zeros(3, 2, 2)
    members = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert align(members, like).shape == (3, 1, 1)
    assert align(members, like).dtype == torch.float32
    scalar = torch.tensor(1e-20, dtype=torch.float64)
    assert align(scalar, like) is scalar
