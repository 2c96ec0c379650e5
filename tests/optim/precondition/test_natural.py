"""Natural gradients by every representation: what a step is, and that members of a population take the steps of each alone."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim import catalog
from optim.precondition.algorithms.full import full
from optim.precondition.batch import SOURCES, Batch, Looked, Members, Pass
from optim.precondition.criteria import CRITERIA
from optim.precondition.extension.tape import Tape
from optim.precondition.interface import Preconditioner
from optim.precondition.layers import Layer
from optim.precondition.matrices.block import BLOCK
from optim.precondition.matrices.diagonal import DIAGONAL
from optim.precondition.matrices.unit_wise import UNIT_WISE
from optim.precondition.methods import METHODS
from optim.transform import stack
from tests.optim.precondition.looking import Brute, Everything, batch_of, order

NATURAL = ("ngd_full", "ngd_layer", "ngd_unit", "ngd_diagonal")
OURS = (*NATURAL, "kfac")
EXAMPLES = 6
CLOSE: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-10}
SAME: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def hyper(method: str, **given: Any) -> dict[str, Tensor]:
    options = catalog.by_name(catalog.optimizer_info(method).options)
    values = {name: option.number(given.get(name, option.default)) for name, option in options.items()}
    return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


def everything(seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(seed)
    module = Everything()
    for param in module.parameters():
        nn.init.normal_(param)
    return module, torch.randint(5, (EXAMPLES, 4)), torch.randint(3, (EXAMPLES,))


def stepped(method: str, batch: Looked, layers: Sequence[Layer], state: Any, given: Mapping[str, Tensor]) -> Any:
    return METHODS[method].link(layers).step(batch.gradients(), state, batch.params, given, batch)


def begun(method: str, batch: Batch) -> Any:
    return METHODS[method].link(batch.layers).init([param.detach() for param in batch.params])


@pytest.mark.parametrize("fisher", SOURCES)
@pytest.mark.parametrize("method", NATURAL)
def test_a_step_is_the_solution_with_the_matrix_by_brute_force(method: str, fisher: str) -> None:
    module, inputs, targets = everything()
    batch, samples, damping = batch_of(module, inputs, targets), 3, 0.1
    given = hyper(
        method, fisher=fisher, samples=samples, damping=damping, kl_clip=0.0, interval=1, curvature_interval=1
    )
    grads = batch.gradients()
    found, _ = stepped(method, batch, batch.layers, begun(method, batch), given)
    whole = Brute(module, inputs, targets, "cross_entropy").fisher(fisher, torch.tensor(0), samples)
    masked = whole * _mask(method, batch, len(whole))
    wanted = torch.linalg.solve(masked + damping * torch.eye(len(whole)), torch.cat([grad.flatten() for grad in grads]))
    torch.testing.assert_close(torch.cat([grad.flatten() for grad in found]), wanted, **CLOSE)
    assert all(not torch.allclose(new, old) for new, old in zip(found, grads, strict=True))


def _mask(method: str, batch: Batch, size: int) -> Tensor:
    """Say which elements of the whole matrix (D, D) a method knows."""
    if method == "ngd_full":
        return torch.ones(size, size)
    if method == "ngd_diagonal":
        return torch.eye(size)
    mask = torch.zeros(size, size)
    for layer in batch.layers:
        units = order(layer, [param.shape for param in batch.params])
        for places in [units.flatten()] if method == "ngd_layer" else units:
            mask[places[:, None], places] = 1
    return mask


def test_kfac_is_damped_by_kinds() -> None:
    module, inputs, targets = everything()
    batch, damping = batch_of(module, inputs, targets), 0.1
    given = hyper("kfac", fisher="exact", damping=damping, kl_clip=0.0)
    grads = batch.gradients()
    found, state = stepped("kfac", batch, batch.layers, begun("kfac", batch), given)
    places = {layer.kind: layer for layer in batch.layers}
    assert [layer.kind for layer in batch.layers] == [
        "embedding",
        "bias",
        "norm",
        "scale",
        "convolution",
        "norm",
        "linear",
    ]
    table = places["embedding"].places[0]
    frequencies, slopes = state.curvature[:2]
    pi = (frequencies.mean() / slopes.diagonal().mean()).sqrt()
    root = damping**0.5
    dense = torch.kron((frequencies + pi * root).diag(), slopes + root / pi * torch.eye(len(slopes)))
    torch.testing.assert_close(found[table].flatten(), torch.linalg.solve(dense, grads[table].flatten()), **CLOSE)
    seen = {each.layer.kind: each for each in batch.seen("exact", key=torch.tensor(0))}
    for kind, form in (("bias", DIAGONAL), ("scale", DIAGONAL), ("norm", UNIT_WISE)):
        layer = places[kind]
        matrix = form.dense(form.estimate(seen[kind]))
        own = torch.stack([grads[place].flatten() for place in layer.places], dim=-1).flatten()
        wanted = torch.linalg.solve(matrix + damping * torch.eye(len(matrix)), own)
        new = torch.stack([found[place].flatten() for place in layer.places], dim=-1).flatten()
        torch.testing.assert_close(new, wanted, **CLOSE)


@pytest.mark.parametrize("method", OURS)
def test_a_population_steps_as_each_member_alone(method: str) -> None:
    settings: list[dict[str, Any]] = [
        {"fisher": "exact", "damping": 0.1, "interval": 1},
        {"fisher": "sampled", "samples": 2, "damping": 1e-2, "interval": 2, "curvature_beta": 0.5},
        {"fisher": "empirical", "damping": 1.0, "interval": 3, "interval_warmup": 1, "kl_clip": 0.0},
    ]
    batches = [batch_of(*everything(seed)) for seed in range(len(settings))]
    each = [hyper(method, lr=0.1, **given) for given in settings]
    together = {name: torch.stack([given[name] for given in each]) for name in each[0]}
    layers, members = batches[0].layers, Members(batches)
    states = [begun(method, batch) for batch in batches]
    state = stack(states)
    for _ in range(4):
        found, state = stepped(method, members, layers, state, together)
        for place, (batch, given) in enumerate(zip(batches, each, strict=True)):
            alone, states[place] = stepped(method, batch, layers, states[place], given)
            for new, own in zip(found, alone, strict=True):
                torch.testing.assert_close(new[place], own, **SAME)
    for new, own in zip(state.curvature, stack(states).curvature, strict=True):
        torch.testing.assert_close(new, own, **SAME)


def _perceptron(params: Sequence[Tensor], inputs: Tensor) -> Tensor:
    """Apply two layers, of one model or stacked as lanes do it: examples are columns."""
    if inputs.ndim == 2:
        return F.linear(torch.tanh(F.linear(inputs, params[0], params[1])), params[2], params[3])
    hidden = torch.tanh(torch.baddbmm(params[1].unsqueeze(-1), params[0], inputs.mT))
    return torch.baddbmm(params[3].unsqueeze(-1), params[2], hidden).mT


def _batch(params: Sequence[Tensor], inputs: Tensor, targets: Tensor, layers: Sequence[Layer]) -> Batch:
    weights = torch.full(targets.shape, 1 / targets.shape[-1])

    def run(params: Sequence[Tensor]) -> Pass:
        with Tape(params) as tape:
            outputs = _perceptron(params, inputs)
        losses = F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), reduction="none").reshape(targets.shape)
        return Pass((losses * weights).sum(), outputs, tape.calls)

    return Batch(run, [param.requires_grad_() for param in params], layers, CRITERIA["cross_entropy"], weights)


@pytest.mark.parametrize("method", OURS)
def test_stacked_layers_step_as_each_member_alone(method: str) -> None:
    members = 3
    params = [torch.randn(members, *shape) for shape in ((5, 4), (5,), (3, 5), (3,))]
    inputs, targets = torch.randn(members, EXAMPLES, 4), torch.randint(3, (members, EXAMPLES))
    layers = Layer("linear", 0, 1), Layer("linear", 2, 3)
    each = [hyper(method, lr=0.1, damping=damping, interval=1) for damping in (1.0, 0.1, 1e-2)]
    together = {name: torch.stack([given[name] for given in each]) for name in each[0]}
    own = [[param[place].clone() for param in params] for place in range(members)]
    link = METHODS[method].link(layers)
    state, states = stack([link.init(member) for member in own]), [link.init(member) for member in own]
    for _ in range(3):
        found, state = stepped(method, _batch(params, inputs, targets, layers), layers, state, together)
        params = [(param - 0.1 * new).detach() for param, new in zip(params, found, strict=True)]
        for place in range(members):
            batch = _batch(own[place], inputs[place], targets[place], layers)
            alone, states[place] = stepped(method, batch, layers, states[place], each[place])
            own[place] = [(param - 0.1 * new).detach() for param, new in zip(own[place], alone, strict=True)]
    for place in range(members):
        for param, single in zip(params, own[place], strict=True):
            torch.testing.assert_close(param[place], single, **SAME)


@pytest.mark.parametrize("method", OURS)
def test_a_run_that_is_resumed_goes_on_as_it_would_have(method: str) -> None:
    module, inputs, targets = everything()
    given = hyper(method, lr=0.1, interval=2, curvature_interval=3)

    def go(module: nn.Module, state: Any, steps: int) -> Any:
        for _ in range(steps):
            batch = batch_of(module, inputs, targets)
            found, state = stepped(method, batch, batch.layers, state or begun(method, batch), given)
            with torch.no_grad():
                for param, new in zip(module.parameters(), found, strict=True):
                    param.sub_(new, alpha=0.1)
        return state

    whole, parts = copy.deepcopy(module), copy.deepcopy(module)
    go(whole, None, 7)
    go(parts, copy.deepcopy(go(parts, None, 4)), 3)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(next(whole.parameters()), next(module.parameters()))


@pytest.mark.parametrize("method", OURS)
def test_curvature_is_averaged(method: str) -> None:
    batches = [batch_of(*everything(seed)) for seed in range(2)]
    layers = batches[0].layers
    given = hyper(method, fisher="exact", curvature_interval=1, curvature_beta=0.5)
    state = begun(method, batches[0])
    seen = []
    for batch in batches:
        _, state = stepped(method, batch, layers, state, given)
        _, alone = stepped(method, batch, layers, begun(method, batch), given)
        seen.append(alone.curvature)
    for found, first, second in zip(state.curvature, *seen, strict=True):
        torch.testing.assert_close(found, (first + second) / 2, **CLOSE)


def _too_large(form: str) -> Callable[[], object]:
    layer = Layer("linear", 0, 1)
    wide, small = [torch.empty(100, 200), torch.empty(100)], [torch.empty(10, 90), torch.empty(10)]
    many = [param for _ in range(10) for param in small]
    layers = [Layer("linear", 2 * place, 2 * place + 1) for place in range(10)]
    return {
        "block": lambda: BLOCK.zeros(layer, wide),
        "unit": lambda: UNIT_WISE.zeros(layer, [torch.empty(300, 500), torch.empty(300)]),
        "full": lambda: full(layers).init(many),
    }[form]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("block", "curvature of 20100 x 20100 numbers is more than 8192 x 8192: hold it in smaller parts, as kfac, "),
        ("unit", "curvature of 300 x 501 x 501 numbers is more than"),
        ("full", "curvature of 9100 x 9100 numbers is more than"),
    ],
)
def test_matrices_that_are_too_large_are_refused(form: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _too_large(form)()


class Attending(nn.Module):
    """Has a part that no method knows the layers of."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.last = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.attention(inputs, inputs, inputs)[0].mean(dim=1))
        return outputs


@pytest.mark.parametrize("method", OURS)
def test_what_is_left_to_the_plain_gradient_is_named_once(method: str) -> None:
    model, inputs, targets = Attending(), torch.randn(EXAMPLES, 3, 4), torch.randint(3, (EXAMPLES,))
    precondition = Preconditioner(model, method, kl_clip=0.0)

    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(inputs)
        return F.cross_entropy(outputs, targets), outputs

    names = [f"attention.{name}" for name, _ in model.attention.named_parameters()]
    with pytest.warns(UserWarning, match=f"{method} leaves these gradients as they are.*: {', '.join(names)}$"):
        precondition.backward(closure)
    assert precondition.plain == names
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = precondition.backward(closure)
    assert torch.isfinite(loss)
    plain = torch.autograd.grad(closure()[0], list(model.parameters()))
    for (name, param), grad in zip(model.named_parameters(), plain, strict=True):
        assert param.grad is not None
        assert torch.allclose(param.grad, grad) == (name in names)


def test_a_method_is_given_the_layers_of_the_kinds_it_knows() -> None:
    model = Everything()
    precondition = Preconditioner(model, "ngd_diagonal")
    tokens, targets = torch.randint(5, (EXAMPLES, 4)), torch.randint(3, (EXAMPLES,))

    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(tokens)
        return F.cross_entropy(outputs, targets), outputs

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        precondition.backward(closure)
    assert precondition.plain == []
    assert precondition.layers is not None
    assert {layer.kind for layer in precondition.layers} == set(METHODS["ngd_diagonal"].kinds)


def _left(method: str, dtype: torch.dtype, *, autocast: bool = False, sparse: bool = False) -> list[Tensor]:
    """Return the gradients that a step leaves in a model of this precision, or one whose outputs are computed in less."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 4, sparse=sparse), nn.LayerNorm(4), nn.Flatten(), nn.Linear(16, 3)).to(dtype)
    tokens, targets = torch.randint(5, (EXAMPLES, 4)), torch.randint(3, (EXAMPLES,))

    def closure() -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            outputs = model(tokens)
            return F.cross_entropy(outputs, targets), outputs

    Preconditioner(model, method, fisher="exact", damping=1.0).backward(closure)
    return [param.grad for param in model.parameters() if param.grad is not None]


@pytest.mark.parametrize("method", OURS)
def test_what_passes_in_half_precision_is_computed_in_the_parameters_own(method: str) -> None:
    whole = _left(method, torch.float32)
    for half in (_left(method, torch.float32, autocast=True), _left(method, torch.bfloat16)):
        for found, wanted in zip(half, whole, strict=True):
            assert (found.float() - wanted).norm() < 0.1 * wanted.norm()
    assert all(grad.dtype == torch.bfloat16 for grad in half)


@pytest.mark.parametrize("method", OURS)
def test_sparse_gradients_become_dense_ones(method: str) -> None:
    for found, wanted in zip(_left(method, torch.float64, sparse=True), _left(method, torch.float64), strict=True):
        torch.testing.assert_close(found, wanted, **SAME)
