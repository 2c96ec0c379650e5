"""Every kind of layer gives the gradients of single examples that torch.func gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from optim.precondition.extension.tape import Tape, once
from optim.precondition.layers import Seen
from optim.precondition.modules.kinds import KINDS, per_example

EXAMPLES, VECTORS = 5, 3


class Bias(nn.Module):
    """Adds a parameter, in one of the ways one writes that."""

    def __init__(self, *shape: int, add: Callable[[Any, Any], Any] = lambda inputs, shift: inputs + shift) -> None:
        super().__init__()
        self.shift, self._add = nn.Parameter(torch.randn(shape)), add

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self._add(inputs, self.shift)
        return outputs


class Scale(nn.Module):
    """Multiplies by a parameter."""

    def __init__(self, *shape: int, times: Callable[[Any, Any], Any] = lambda inputs, scale: inputs * scale) -> None:
        super().__init__()
        self.scale, self._times = nn.Parameter(torch.randn(shape)), times

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self._times(inputs, self.scale)
        return outputs


def _in_place(inputs: Tensor, shift: Tensor) -> Tensor:
    outputs = inputs.clone()
    outputs += shift
    return outputs


def _trained(module: nn.Module) -> nn.Module:
    """Give weights, and running statistics, that are not those of the beginning."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.5, 1.5)
    return module.eval()


def _frozen(module: nn.Module, name: str) -> nn.Module:
    module.get_parameter(name).requires_grad_(False)
    return module


TOKENS = torch.tensor([[0, 1, 1, 5], [2, 2, 2, 2], [0, 0, 0, 0], [5, 4, 3, 2], [1, 0, 6, 0]])
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 3), (4,)),
    "linear without bias": (lambda: nn.Linear(4, 3, bias=False), (4,)),
    "linear over positions": (lambda: nn.Linear(4, 3), (2, 5, 4)),
    "linear of a frozen weight": (lambda: _frozen(nn.Linear(4, 3), "weight"), (4,)),
    "linear of a frozen bias": (lambda: _frozen(nn.Linear(4, 3), "bias"), (4,)),
    "convolution 1d": (lambda: nn.Conv1d(3, 4, 3), (3, 7)),
    "convolution 1d, a word": (lambda: nn.Conv1d(3, 4, 4, padding="same", dilation=2), (3, 9)),
    "convolution 2d": (lambda: nn.Conv2d(2, 3, 3), (2, 5, 6)),
    "convolution 2d, all settings": (
        lambda: nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
        (4, 6, 5),
    ),
    "convolution 2d, each channel alone": (lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False), (4, 5, 5)),
    "convolution 2d, stride over an edge": (lambda: nn.Conv2d(2, 3, 2, stride=3), (2, 6, 7)),
    "convolution 2d, valid": (lambda: nn.Conv2d(2, 3, 2, padding="valid"), (2, 4, 4)),
    "convolution 2d, same": (lambda: nn.Conv2d(2, 3, (2, 3), padding="same"), (2, 4, 4)),
    "convolution 2d, reflecting": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 4, 4)),
    "convolution 2d, circular and same": (
        lambda: nn.Conv2d(2, 3, 3, padding="same", padding_mode="circular"),
        (2, 4, 4),
    ),
    "convolution 2d of a frozen weight": (lambda: _frozen(nn.Conv2d(2, 4, 3, groups=2), "weight"), (2, 4, 4)),
    "convolution 3d": (lambda: nn.Conv3d(2, 4, (1, 2, 3), stride=(1, 2, 1), padding=1, groups=2), (2, 3, 4, 5)),
    "embedding": (lambda: nn.Embedding(7, 3), ()),
    "embedding with padding": (lambda: nn.Embedding(7, 3, padding_idx=0), ()),
    "embedding with padding from behind": (lambda: nn.Embedding(7, 3, padding_idx=-2), ()),
    "layer norm": (lambda: _trained(nn.LayerNorm(4)), (4,)),
    "layer norm over positions": (lambda: _trained(nn.LayerNorm(4, eps=0.1)), (3, 4)),
    "layer norm over two axes": (lambda: _trained(nn.LayerNorm((3, 4))), (2, 3, 4)),
    "layer norm without bias": (lambda: _trained(nn.LayerNorm(4, bias=False)), (4,)),
    "layer norm of a frozen weight": (lambda: _frozen(_trained(nn.LayerNorm(4)), "weight"), (4,)),
    "root mean square norm": (lambda: _trained(nn.RMSNorm(4)), (3, 4)),
    "group norm": (lambda: _trained(nn.GroupNorm(2, 4)), (4, 3, 2)),
    "batch norm 1d": (lambda: _trained(nn.BatchNorm1d(4)), (4,)),
    "batch norm 1d over positions": (lambda: _trained(nn.BatchNorm1d(4, eps=0.1)), (4, 6)),
    "batch norm 2d": (lambda: _trained(nn.BatchNorm2d(3)), (3, 4, 2)),
    "bias": (lambda: Bias(4), (3, 4)),
    "bias in front": (lambda: Bias(4, add=lambda inputs, shift: shift + inputs), (4,)),
    "bias by torch.add": (lambda: Bias(4, add=torch.add), (4,)),
    "bias in place": (lambda: Bias(4, add=_in_place), (4,)),
    "bias for each position": (lambda: Bias(1, 3, 4), (3, 4)),
    "bias along some axes": (lambda: Bias(3, 1, 2), (3, 4, 2)),
    "bias that makes more of it": (lambda: Bias(3, 4), (1, 4)),
    "bias for all": (Bias, (3, 4)),
    "scale": (lambda: Scale(4), (3, 4)),
    "scale in front": (lambda: Scale(4, times=lambda inputs, scale: scale * inputs), (4,)),
    "scale by torch.mul": (lambda: Scale(3, 1, times=torch.mul), (3, 4)),
    "scale for each position": (lambda: Scale(1, 3, 4), (3, 4)),
    "scale that makes more of it": (lambda: Scale(3, 4), (3, 1)),
    "scale for all": (Scale, (3, 4)),
}


def _inputs(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(EXAMPLES, *shape) if shape else TOKENS


def _seen(module: nn.Module, inputs: Tensor) -> Seen:
    """Return what is seen of a module that is one layer, with random vectors as slopes (c, n, ...) of its outputs."""
    params = [param for param in module.parameters() if param.requires_grad]
    with Tape(params) as tape:
        outputs = module(inputs)
    (call,) = once(tape.calls)
    slopes = torch.randn(VECTORS, *outputs.shape)
    return Seen(call.layer, call.features(), slopes, torch.rand(EXAMPLES))


@pytest.fixture(autouse=True)
def _exact() -> Any:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", MODULES)
def test_gradients_of_examples_are_those_of_torch_func(name: str) -> None:
    build, shape = MODULES[name]
    module, inputs = build(), _inputs(shape)
    seen = _seen(module, inputs)
    named = {name: param.detach() for name, param in module.named_parameters() if param.requires_grad}

    def loss(params: dict[str, Tensor], example: Tensor, slope: Tensor) -> Tensor:
        outputs: Tensor = functional_call(module, params, (example.unsqueeze(0),))
        return (outputs.squeeze(0) * slope).sum()

    wanted = vmap(vmap(grad(loss), (None, 0, 0)), (None, None, 0))(named, inputs, seen.slopes)
    found = per_example(seen)
    assert len(found) == len(named)
    for each, other in zip(found, wanted.values(), strict=True):
        torch.testing.assert_close(each, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MODULES)
def test_gradients_of_members_are_those_of_each_alone(name: str) -> None:
    build, shape = MODULES[name]
    module = build()
    alone = [_seen(module, _inputs(shape)) for _ in range(2)]
    stacked = Seen(
        alone[0].layer,
        torch.stack([seen.inputs for seen in alone]),
        torch.stack([seen.slopes for seen in alone]),
        torch.stack([seen.weights for seen in alone]),
    )
    for place, seen in enumerate(alone):
        for found, wanted in zip(per_example(stacked), per_example(seen), strict=True):
            torch.testing.assert_close(found[place], wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", MODULES)
def test_units_are_joined_and_split_without_loss(name: str) -> None:
    build, shape = MODULES[name]
    module = build()
    layer = _seen(module, _inputs(shape)).layer
    params = [param.detach() for param in module.parameters() if param.requires_grad]
    kind = KINDS[layer.kind]
    back = kind.split(layer, kind.join(layer, params, 0))
    assert all(torch.equal(each, param) for each, param in zip(back, params, strict=True))


@pytest.mark.parametrize(("module", "shape"), [(nn.BatchNorm1d(4), (4,)), (nn.BatchNorm2d(3), (3, 4, 2))])
def test_a_normalised_input_of_a_batch_is_taken_as_given(module: nn.Module, shape: tuple[int, ...]) -> None:
    module = _trained(module.double()).train()
    inputs = torch.randn(EXAMPLES, *shape)
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    seen = _seen(module, inputs)
    moved = {name: buffer.clone() for name, buffer in module.named_buffers()}
    assert not torch.equal(before["running_mean"], moved["running_mean"])
    scale, shift = module.get_parameter("weight"), module.get_parameter("bias")
    beside = (-1, *(1,) * (len(shape) - 1))
    normal = ((module(inputs) - shift.reshape(beside)) / scale.reshape(beside)).detach()

    def loss(params: tuple[Tensor, Tensor], example: Tensor, slope: Tensor) -> Tensor:
        return ((example * params[0].reshape(beside) + params[1].reshape(beside)) * slope).sum()

    given = scale.detach(), shift.detach()
    wanted = vmap(vmap(grad(loss), (None, 0, 0)), (None, None, 0))(given, normal, seen.slopes)
    for found, other in zip(per_example(seen), wanted, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-10, atol=1e-10)
    # Together they are the layer's gradient all the same.
    whole = torch.autograd.grad(module(inputs), (scale, shift), seen.slopes[0])
    for found, other in zip(per_example(seen), whole, strict=True):
        torch.testing.assert_close(found[0].sum(dim=0), other, rtol=1e-10, atol=1e-10)


def test_statistics_of_a_batch_move_with_its_forward_pass_alone() -> None:
    module = nn.BatchNorm1d(4)
    with Tape(list(module.parameters())) as tape:
        module(torch.randn(EXAMPLES, 4))
    running = module.get_buffer("running_mean").clone()
    tape.calls[0].features()
    assert torch.equal(module.get_buffer("running_mean"), running)


class Folded(nn.Module):
    """A linear layer whose weight is itself a product of parameters, and sums of parameters alone."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.scale, self.shift = (nn.Parameter(torch.randn(shape)) for shape in ((3, 4), (4,), (3,)))
        self.last = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        weight = torch.tanh(self.table) * self.scale
        outputs: Tensor = self.last(torch.tanh(inputs @ weight.T + self.shift))
        return outputs


def _kinds(module: nn.Module, inputs: Tensor) -> list[str]:
    with Tape(list(module.parameters())) as tape:
        module(inputs)
    return [call.layer.kind for call in once(tape.calls)]


def test_parameters_that_meet_no_examples_are_no_layers() -> None:
    assert _kinds(Folded(), torch.randn(EXAMPLES, 4)) == ["bias", "linear"]


@pytest.mark.parametrize(
    "add",
    [
        lambda inputs, shift: torch.add(inputs, shift, alpha=2),
        lambda inputs, shift: inputs - shift,
        lambda inputs, shift: shift + shift * inputs,
    ],
)
def test_what_is_no_plain_sum_is_no_layer(add: Callable[[Any, Any], Any]) -> None:
    assert _kinds(Bias(4, add=add), torch.randn(EXAMPLES, 4)) == []


def test_a_parameter_for_each_example_is_no_layer() -> None:
    assert _kinds(Bias(EXAMPLES, 4), torch.randn(EXAMPLES, 4)) == []


def test_an_embedding_that_is_used_twice_is_no_layer() -> None:
    table = nn.Embedding(7, 3)

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = table

        def forward(self, tokens: Tensor) -> Tensor:
            outputs: Tensor = nn.functional.linear(self.table(tokens), self.table.weight)
            return outputs

    assert _kinds(Tied(), TOKENS) == []


def test_attention_is_left_out_with_its_parts() -> None:
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    inputs = torch.randn(EXAMPLES, 3, 4)
    with Tape(list(attention.parameters())) as tape:
        attention(inputs, inputs, inputs)
    assert tape.calls == []


def test_a_layer_knows_where_its_parameters_are() -> None:
    module = nn.Sequential(nn.Embedding(7, 3), Bias(4, 3), nn.LayerNorm(3), Scale(3))
    with Tape(list(module.parameters())) as tape:
        module(TOKENS)
    found = [(call.layer.kind, call.layer.places) for call in once(tape.calls)]
    assert found == [("embedding", (0,)), ("bias", (1,)), ("norm", (2, 3)), ("scale", (4,))]


def test_layers_of_another_number_of_examples_are_none() -> None:
    module = nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 3))
    with Tape(list(module.parameters())) as tape:
        module(torch.randn(EXAMPLES, 2, 4))
    assert len(once(tape.calls)) == 1
    assert once(tape.calls, number=EXAMPLES) == []
