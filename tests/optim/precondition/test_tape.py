"""What a tape records of a model, and what it leaves behind."""

import weakref

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim.precondition.extension.tape import Tape, once


def recorded(model: nn.Module, *inputs: Tensor) -> tuple[list[tuple[str, tuple[int, ...]]], Tensor, Tape]:
    with Tape(list(model.parameters())) as tape:
        outputs = model(*inputs)
    return [(call.layer.kind, call.layer.places) for call in tape.calls], outputs, tape


def test_layers_are_known_by_their_parameters_in_the_order_of_calls() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 3), nn.Flatten(), nn.Linear(6, 4, bias=False), nn.Tanh(), nn.Linear(4, 2))
    found, _, _ = recorded(model, torch.randn(5, 2, 4))
    assert found == [("convolution", (0, 1)), ("linear", (2,)), ("linear", (3, 4))]


def test_slopes_are_of_the_output_before_an_activation_overwrites_it() -> None:
    torch.manual_seed(0)
    apart = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    in_place = nn.Sequential(apart[0], nn.ReLU(inplace=True), apart[2])
    inputs = torch.randn(6, 3, dtype=torch.float64)
    slopes = []
    for model in (apart, in_place):
        _, outputs, tape = recorded(model, inputs)
        slopes.append(torch.autograd.grad(outputs.square().sum(), [call.edge for call in tape.calls]))
    assert all(torch.equal(one, other) for one, other in zip(*slopes, strict=True))
    assert slopes[0][0].any()


def test_nothing_is_left_behind() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    before = {name: type(value) for name, value in model.named_modules()}
    recorded(model, torch.randn(6, 3))
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert {name: type(value) for name, value in model.named_modules()} == before


def test_it_keeps_no_output_alive() -> None:
    model = nn.Linear(3, 4)
    with Tape(list(model.parameters())) as tape:
        seen = weakref.ref(model(torch.randn(6, 3)))
    assert len(tape.calls) == 1
    assert seen() is None


def test_parameters_that_two_calls_use_are_left_out() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.Tanh(), shared, nn.Linear(4, 2))
    _, _, tape = recorded(model, torch.randn(6, 4))
    assert len(tape.calls) == 3
    assert [call.layer.places for call in once(tape.calls)] == [(2, 3)]


def test_a_pure_function_of_parameters_is_read_alike() -> None:
    weight, bias = torch.randn(2, 3, requires_grad=True), torch.zeros(2, requires_grad=True)
    with Tape([bias, weight]) as tape:
        F.linear(torch.randn(5, 3), weight, bias)
    assert (tape.calls[0].layer.weight, tape.calls[0].layer.bias) == (1, 0)


def test_what_has_no_gradient_or_no_parameter_is_not_recorded() -> None:
    frozen, model = nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 2)
    with Tape(list(model.parameters())) as tape:
        model(frozen(torch.randn(4, 3)))
        with torch.no_grad():
            model(torch.randn(4, 3))
    assert len(tape.calls) == 1
