"""Networks of users: what is trained of a module, which modules are refused, and that lanes can stack the others."""

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.support.sources import ROOT
from tests.training.recorder import measure
from tests.training.whole import whole
from training.data.bundled import load
from training.data.examples import Data
from training.networks.base import Network
from training.networks.table import build_network

HEAD = """
import random
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

class Own(nn.Module):
    def __init__(self, *parts, **named):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        for name, part in named.items():
            setattr(self, name, part)
"""
LINEAR = HEAD + "def build(shape, outputs):\n    return nn.Linear(shape[0], outputs)\n"
EXAMPLE = {"file": str(ROOT / "examples" / "network" / "nets.py")}

Write = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return what writes a file of networks, and describes one of them."""

    def describe(code: str, **options: Any) -> dict[str, Any]:
        path = tmp_path / "nets.py"
        path.write_text(code)
        return {"kind": "registered", "file": str(path), "options": options}

    return describe


def module(text: str, forward: str = "", more: str = "") -> str:
    """Return a file whose function returns `text`, an Own with this forward."""
    own = f"    def forward(self, x):\n        {forward}\n" if forward else ""
    return f"{HEAD}{own}\n{more}\ndef build(shape, outputs, vocabulary=None):\n    return {text}\n"


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def test_a_module_is_trained_as_it_was_written(write: Write) -> None:
    data = load("wine")
    network = build_network(write(module("nn.Sequential(nn.Linear(13, 8), nn.Tanh(), nn.Linear(8, outputs))")), data)
    params = network.init(seeded(1))
    peer = nn.Sequential(nn.Linear(13, 8), nn.Tanh(), nn.Linear(8, 3))
    peer.load_state_dict(dict(zip(peer.state_dict(), params, strict=True)))
    inputs, _ = whole(data.val)
    assert torch.equal(network.apply(params, inputs), peer(inputs))
    assert all(param.dtype == torch.float32 and not param.requires_grad for param in params)


@pytest.mark.parametrize(
    ("draw", "name"),
    [("nn.Linear(13, outputs)", "torch"), ("numpys(outputs)", "numpy"), ("pythons(outputs)", "python")],
)
def test_how_it_begins_follows_the_generator_alone(write: Write, draw: str, name: str) -> None:
    more = f"""
def numpys(outputs):
    built = nn.Linear(13, outputs)
    nn.init.constant_(built.weight, np.random.rand())
    return built

def pythons(outputs):
    built = nn.Linear(13, outputs)
    nn.init.constant_(built.bias, random.random())
    return built
# {name}
"""
    network = build_network(write(module(draw, more=more)), load("wine"))
    torch.manual_seed(1)
    first = network.init(seeded(5))
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - the state that users' code draws from
    random.seed(2)
    state, numpys, pythons = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]  # noqa: NPY002
    again, other = network.init(seeded(5)), network.init(seeded(6))
    assert equal(first, again)
    assert not any(torch.equal(one, other) for one, other in zip(first, other, strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert numpys == np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert pythons == random.getstate()


def test_what_the_function_is_given(write: Write) -> None:
    more = "given = []\n"
    code = module(
        "given.append((shape, outputs, vocabulary, wide)) or nn.Sequential(nn.Flatten(), first(shape, outputs))"
    )
    code = code.replace("vocabulary=None", "vocabulary=None, wide=1").replace(
        "\ndef build",
        f"{more}def first(shape, outputs):\n    return nn.Linear(int(np.prod(shape)), outputs)\n\ndef build",
    )
    spec = write(code, wide=2)
    seen = []
    for name in ("digits", "wine"):
        build_network(spec, load(name))
        (loaded,) = [found for key, found in sys.modules.items() if getattr(found, "__file__", None) == spec["file"]]
        seen.append(loaded.given[-1])
    assert seen == [((1, 8, 8), 10, None, 2), ((13,), 3, None, 2)]


def test_tokens_come_with_their_number(write: Write) -> None:
    bag = "nn.Sequential(nn.EmbeddingBag(vocabulary, 4), nn.Linear(4, outputs))"
    data = load("digits_tokens")
    params = build_network(write(module(bag)), data).init(seeded(0))
    assert [tuple(param.shape) for param in params] == [(data.vocabulary, 4), (10, 4), (10,)]


def test_one_option_of_another_type_is_another_network(write: Write) -> None:
    code = LINEAR.replace("outputs)", "outputs, wide)", 1).replace(
        "return nn", "assert wide is True, type(wide)\n    return nn"
    )
    build_network(write(code, wide=True), load("wine"))
    with pytest.raises(ValueError, match="class 'int'"):
        build_network(write(code, wide=1), load("wine"))


def test_a_file_is_read_anew_when_it_changed_and_only_then(write: Write) -> None:
    data = load("wine")
    spec = write(LINEAR.replace("outputs)\n", "outputs, True)\n"))
    path = Path(spec["file"])
    before = build_network(spec, data)
    assert build_network(spec, data) is before
    at = path.stat()
    write(LINEAR.replace("outputs)\n", "outputs, None)\n"))
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns + 1000))  # of the same size, within the second
    after = build_network(spec, data)
    assert (len(before.init(seeded(0))), len(after.init(seeded(0)))) == (2, 1)
    assert [beside.name for beside in path.parent.iterdir()] == ["nets.py"]


def test_the_folder_is_not_put_on_the_path(write: Write, tmp_path: Path) -> None:
    (tmp_path / "beside_it.py").write_text("")
    before = list(sys.path)
    with pytest.raises(ValueError, match="No module named 'beside_it'; it may import what is installed, not what lies"):
        build_network(write("import beside_it\n"), load("wine"))
    assert sys.path == before
    assert not [
        key
        for key in sys.modules
        if key.startswith("_network_") and sys.modules[key].__file__ == str(tmp_path / "nets.py")
    ]


def test_a_dataclass_in_the_file_finds_its_module(write: Write) -> None:
    code = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\n"
    )
    build_network(write(code + LINEAR), load("wine"))


def test_constants_are_of_the_module_and_not_trained(write: Write) -> None:
    code = module(
        "made(outputs)",
        forward="return self.parts[0](x * self.scale) + self.shift",
        more="def made(outputs):\n    own = Own(nn.Linear(13, outputs))\n"
        "    own.register_buffer('scale', torch.full((13,), 2.0), persistent=False)\n"
        "    own.shift = nn.Parameter(torch.ones(outputs), requires_grad=False)\n    return own\n",
    )
    data = load("wine")
    network = build_network(write(code), data)
    weight, bias = network.init(seeded(0))
    inputs, _ = whole(data.val)
    expected = nn.functional.linear(inputs * 2, weight, bias) + 1
    assert torch.allclose(network.apply([weight, bias], inputs), expected)
    elsewhere = [tensor.to("meta") for tensor in (weight, bias, inputs)]
    assert network.apply(elsewhere[:2], elsewhere[2]).device.type == "meta"  # constants go where the inputs are


def test_a_tied_weight_is_one_parameter_with_both_gradients(write: Write) -> None:
    more = (
        "def made(outputs):\n    one, other = nn.Linear(13, 13), nn.Linear(13, 13)\n"
        "    other.weight = one.weight\n    return nn.Sequential(one, nn.Tanh(), other, nn.Linear(13, outputs))\n"
    )
    data = load("wine")
    network = build_network(write(module("made(outputs)", more=more)), data)
    params = [param.requires_grad_() for param in network.init(seeded(0))]
    assert [tuple(param.shape) for param in params] == [(13, 13), (13,), (13,), (3, 13), (3,)]
    weight, first, second, last, end = params
    inputs, _ = whole(data.val)
    linear = nn.functional.linear
    expected = linear(linear(linear(inputs, weight, first).tanh(), weight, second), last, end)
    found = network.apply(params, inputs)
    assert torch.allclose(found, expected, atol=1e-6)
    own, theirs = (torch.autograd.grad(outputs.square().mean(), params) for outputs in (found, expected))
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(own, theirs, strict=True))
    alone_and_stacked(network, inputs)


BATCHNORM = "nn.Sequential(nn.Linear(13, 8), nn.BatchNorm1d(8{}), nn.Linear(8, outputs))"
TWO = "Own(nn.Linear(13, outputs), nn.Linear(13, outputs))"
REFUSED: dict[str, tuple[str, str]] = {
    "no function": (HEAD, ":build: the file has no such function; write def build(shape, outputs)"),
    "function is none": (HEAD + "build = 3\n", ":build: the file has no such function"),
    "not Python": ("def build(:\n", "nets.py: reading it raised SyntaxError"),
    "file raises": ("raise RuntimeError('so it goes')\n", "nets.py: reading it raised RuntimeError: so it goes"),
    "file exits": ("import sys\nsys.exit(3)\n", "nets.py: reading it raised SystemExit: 3"),
    "function raises": (module("1 / 0"), "nets.py:build: the call raised ZeroDivisionError: division by zero"),
    "function takes less": ("def build(shape):\n    pass\n", ":build: the call raised TypeError: build() takes 1"),
    "not a module": (module("lambda x: x"), ":build: it returned function; return a torch.nn.Module"),
    "no parameters": (module("nn.Flatten()"), ":build: the module has no parameters to train"),
    "all frozen": (module("nn.Linear(13, outputs).requires_grad_(False)"), "the module has no parameters to train"),
    "float64": (module("nn.Linear(13, outputs).double()"), "parameter weight is torch.float64 on cpu; build in float32"),
    "default dtype": (
        module("torch.set_default_dtype(torch.float64) or nn.Linear(13, outputs)"),
        "parameter weight is torch.float64",
    ),
    "complex": (module("nn.Linear(13, outputs, dtype=torch.cfloat)"), "parameter weight is torch.complex64"),
    "elsewhere": (module("nn.Linear(13, outputs, device='meta')"), "parameter weight is torch.float32 on meta"),
    "lazy": (module("nn.LazyLinear(outputs)"), "weight, bias have no shape yet; use no lazy layers"),
    "too few outputs": (module("nn.Linear(13, 2)"), "forward made torch.float32 of shape (2, 2) of inputs (2, 13)"),
    "no row each": (module("nn.Sequential(nn.Linear(13, 3), nn.Flatten(0))"), "return floats of shape (2, 3): a row"),
    "whole numbers": (module("Own(nn.Linear(13, 3))", "return self.parts[0](x).long()"), "forward made torch.int64"),
    "a tuple": (module("Own(nn.Linear(13, 3))", "return self.parts[0](x), x"), "forward returned tuple; return a tensor"),
    "forward raises": (module("nn.Linear(12, outputs)"), ":build: forward, given (2, 13), raised RuntimeError: mat1 and"),
    "detached": (module("Own(nn.Linear(13, 3))", "return self.parts[0](x).detach()"), "no gradient comes through forward"),
    "unused": (module(TWO, "return self.parts[0](x)"), "forward does not use parts.1.weight, parts.1.bias; leave out"),
    "running statistics": (module(BATCHNORM.format("")), "forward changes 1.running_mean, 1.running_var, 1.num_batches"),
    "batch statistics": (
        module(BATCHNORM.format(", track_running_stats=False")),
        "what forward makes of an example depends on the rest of the batch; use LayerNorm, GroupNorm or InstanceNorm",
    ),
    "fixed batch": (
        module("Own(nn.Linear(13, 3))", "return self.parts[0](x.reshape(2, 13))"),
        "forward, given (3, 13), raised RuntimeError: shape",
    ),
    "spectral norm": (
        module("nn.utils.parametrizations.spectral_norm(nn.Linear(13, 3))"),
        "parametrizations.weight.0._u, parametrizations.weight.0._v are random and not trained",
    ),
    "embedding renewed": (
        module("Own(nn.Embedding(20, 3, max_norm=0.01))", "return self.parts[0](x.long().clamp(0, 19)).mean(1)"),
        "forward changes parts.0.weight",
    ),
    "inputs changed": (module("Own(nn.Linear(13, 3))", "return self.parts[0](x.mul_(2))"), "forward changes its inputs"),
    "dropout": (module("nn.Sequential(nn.Dropout(0.01), nn.Linear(13, outputs))"), "leave out dropout and other random"),
    "own chance": (module("Own(nn.Linear(13, 3))", "return self.parts[0](x) * random.random()"), "leave out dropout"),
    "random buffer": (
        module("made()", "return self.parts[0](x @ self.w)", "def made():\n    own = Own(nn.Linear(4, 3))\n"
               "    own.register_buffer('w', torch.randn(13, 4))\n    return own\n"),
        "w are random and not trained; draw them from a torch.Generator with a seed of their own",
    ),
    "random frozen": (
        module("nn.Sequential(nn.Linear(13, 4).requires_grad_(False), nn.Linear(4, 3))"),
        "0.weight, 0.bias are random and not trained",
    ),
    "other layers each time": (
        module("nn.Sequential(nn.Linear(13, n := random.randint(2, 10**4)), nn.Linear(n, 3))"),
        "it builds other parameters each time; let shape, outputs and options decide",
    ),
    "no seed": (
        module("made()", more="def made():\n    own = nn.Linear(13, 3)\n"
               "    nn.init.normal_(own.weight, generator=torch.Generator().manual_seed(torch.seed()))\n    return own\n"),
        "under one seed weight begin differently each time; draw from torch's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_it_is_trained(write: Write, name: str) -> None:
    code, says = REFUSED[name]
    with pytest.raises(ValueError, match=r"nets\.py") as refused:
        build_network(write(code), load("wine"))
    said = str(refused.value)
    assert says in said
    assert "\n" not in said
    assert torch.get_default_dtype() == torch.float32


def test_a_refusal_of_memory_is_none_of_the_network(write: Write) -> None:
    with pytest.raises(MemoryError):
        build_network(write(module("(_ for _ in ()).throw(MemoryError())")), load("wine"))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"file": "/nowhere/nets.py"}, "/nowhere/nets.py: No such file or directory; put the network's file there"),
        ({}, "network.file and network.function must be strings, got None and 'build'"),
        ({**EXAMPLE, "function": ""}, "network.file and network.function must be strings"),
        ({**EXAMPLE, "options": {"shape": 3}}, "network.options must not name shape: the data say that"),
        (
            {**EXAMPLE, "options": {"width": [3]}},
            "network.options must be strings, numbers, true, false or null by name",
        ),
        ({**EXAMPLE, "options": 3}, "network.options must be"),
        (
            {**EXAMPLE, "options": {"depth": 3}},
            "the call raised TypeError: build() got an unexpected keyword argument 'depth'",
        ),
        ({"name": "residual"}, "network registered has no field name; valid: file, function, options"),
    ],
)
def test_a_description_that_makes_no_network(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=r"net") as refused:
        build_network({"kind": "registered", **spec}, load("digits"))
    assert says in str(refused.value)


ATTENTION = """
    def forward(self, x):
        table, attention, last = self.parts
        x = table(x)
        return last(attention(x, x, x, need_weights=WEIGHTS)[0].mean(1))
"""
STACKED: dict[str, tuple[str, str]] = {
    "linear": ("wine", module("nn.Sequential(nn.Linear(13, 8), nn.ReLU(inplace=True), nn.Linear(8, outputs))")),
    "convolution": ("digits", module("nn.Sequential(nn.Conv2d(1, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(144, outputs))")),
    "layer norm": ("wine", module("nn.Sequential(nn.Linear(13, 8), nn.LayerNorm(8), nn.Linear(8, outputs))")),
    "group norm": (
        "digits",
        module("nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(144, outputs))"),
    ),
    "embedding": ("digits_tokens", module("nn.Sequential(nn.Embedding(vocabulary, 2, padding_idx=0), nn.Flatten(), nn.Linear(128, outputs))")),
    "attention": (
        "digits_tokens",
        module("Own(nn.Embedding(vocabulary, 4), nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, outputs))",
               more="").replace("\n\n\ndef", ATTENTION.replace("WEIGHTS", "True") + "\ndef"),
    ),
    "attention without weights": (
        "digits_tokens",
        module("Own(nn.Embedding(vocabulary, 4), nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, outputs))",
               more="").replace("\n\n\ndef", ATTENTION.replace("WEIGHTS", "False") + "\ndef"),
    ),
    "encoder put into evaluation mode": (
        "digits",
        module("nn.Sequential(nn.Flatten(1, 2), nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), nn.Flatten(), "
               "nn.Linear(64, outputs)).eval()"),
    ),
    "weight norm": ("wine", module("nn.utils.parametrizations.weight_norm(nn.Linear(13, outputs))")),
}  # fmt: skip


def alone_and_stacked(network: Network, inputs: Tensor) -> None:
    """Assert that one vmap over stacked parameters gives each member's outputs and gradients."""
    members = [[param.double() for param in network.init(seeded(seed))] for seed in range(3)]
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    stacked = [torch.stack(parts).requires_grad_() for parts in zip(*members, strict=True)]
    outputs = torch.func.vmap(network.apply, in_dims=(0, None))(stacked, inputs)
    grads = torch.autograd.grad(outputs.square().sum(), stacked)
    for number, member in enumerate(members):
        own = [param.clone().requires_grad_() for param in member]
        alone = network.apply(own, inputs)
        assert torch.allclose(outputs[number], alone, rtol=1e-10, atol=1e-12)
        slopes = torch.autograd.grad(alone.square().sum(), own)
        assert all(
            torch.allclose(grad[number], slope, rtol=1e-9, atol=1e-10)
            for grad, slope in zip(grads, slopes, strict=True)
        )
        with torch.no_grad():
            assert torch.equal(network.apply(own, inputs), alone.detach())


@pytest.mark.parametrize("name", STACKED)
def test_a_stack_equals_each_alone(write: Write, name: str) -> None:
    source, code = STACKED[name]
    data: Data = load(source)
    inputs, _ = data.val.rows(torch.arange(7))
    alone_and_stacked(build_network(write(code), data), inputs)


def test_a_branch_on_the_data_is_trained_alone(write: Write) -> None:
    code = module("Own(nn.Linear(13, 3))", "y = self.parts[0](x)\n        return y if x.sum() > 0 else y * 2")
    spec = write(code)
    goal = {"recipe": "classifier", "data": "wine", "network": spec, "epochs": 2}
    outcome, seen = measure(goal, {"lr": 0.01})
    assert (outcome.outcome, len(seen)) == ("completed", 2)
    params = build_network(spec, load("wine")).init(seeded(0))
    with pytest.raises(RuntimeError, match="data-dependent control flow"):
        torch.func.vmap(build_network(spec, load("wine")).apply)(
            [param[None] for param in params], torch.ones(1, 4, 13)
        )


def test_the_example_learns() -> None:
    goal = {"recipe": "classifier", "data": "digits", "network": {"kind": "registered", **EXAMPLE}, "epochs": 3}
    outcome, seen = measure(goal, {"optimizer": "adam", "lr": 0.01})
    assert outcome.outcome == "completed"
    assert seen[-1][1]["val_accuracy"] > 0.9
