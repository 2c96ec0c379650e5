"""What loops of one's own do to a preconditioner: copy it, freeze its parameters, give it odd mini-batches and closures."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim.build import build
from optim.precondition.interface import Preconditioner
from optim.precondition.methods import METHODS

INPUTS = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))
TARGETS = torch.arange(12) % 3
LOOKING = [name for name, method in METHODS.items() if method.looks]
PRODUCTS = ["psgd", "psgd_full", "newton", "absolute_newton", "hessian_free", "neumann", "curveball"]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 3))


def closure_of(model: nn.Module, inputs: Tensor = INPUTS) -> Callable[[], tuple[Tensor, Tensor]]:
    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(inputs)
        return F.cross_entropy(outputs, torch.arange(len(outputs)) % 3), outputs

    return closure


def begun(method: str, steps: int = 2) -> tuple[nn.Module, Any]:
    model = network()
    optimizer: Any = build(method, model, lr=0.01)
    for _ in range(steps):
        optimizer.step(closure_of(model))
    return model, optimizer


def written_and_read(both: Any) -> Any:
    return pickle.loads(pickle.dumps(both))  # noqa: S301 - its own


@pytest.mark.filterwarnings("ignore:kbfgs leaves these gradients")
@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("copied", [copy.deepcopy, written_and_read])
@pytest.mark.parametrize("method", LOOKING)
def test_a_copy_goes_on_as_the_original_does(method: str, copied: Callable[[Any], Any], steps: int) -> None:
    model, optimizer = begun(method, steps)
    other, its = copied((model, optimizer))
    before = [param.clone() for param in model.parameters()]
    for _ in range(11):
        optimizer.step(closure_of(model))
        its.step(closure_of(other))
    assert its.precondition.skipped == optimizer.precondition.skipped
    for one, same, past in zip(model.parameters(), other.parameters(), before, strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, past)


def test_parameters_that_come_later_are_refused_and_not_left_alone() -> None:
    _, optimizer = begun("kfac")
    with pytest.raises(ValueError, match="kfac keeps curvature of the parameters that it was built with"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(3))]})
    assert len(optimizer.param_groups) == 1


def test_what_is_added_to_the_model_is_named_when_curvature_is_due() -> None:
    model = network()
    precondition = Preconditioner(model, "kfac", curvature_interval=2)
    for _ in range(2):
        precondition.backward(closure_of(model))
    model.append(nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"^4\.weight was not there at the beginning: make a preconditioner anew"):
        precondition.backward(closure_of(model))


def test_groups_are_given_at_the_beginning() -> None:
    model = network()
    groups: list[dict[str, Any]] = [{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": 0.1}]
    optimizer: Any = build("kfac", groups, lr=0.01)
    before = [param.clone() for param in model[3].parameters()]
    optimizer.step(closure_of(model))
    assert all(not torch.equal(*pair) for pair in zip(before, model[3].parameters(), strict=True))


def test_a_step_is_held_back_by_the_largest_rate_of_a_group() -> None:
    found = []
    for rate in (10.0, 1e-4):  # of the first layer
        model = network()
        layers: list[Any] = [model[0], model[2], model[3]]
        rates = (rate, 10.0, 10.0)
        groups: list[dict[str, Any]] = [
            {"params": layer.parameters(), "lr": own} for layer, own in zip(layers, rates, strict=True)
        ]
        optimizer: Any = build("kfac", groups, kl_clip=1e-3)
        optimizer.step(closure_of(model))
        found.append([param.detach() for param in layers[-1].parameters()])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("method", ["kfac", "psgd", "smw_ngd", "hessian_free"])
@pytest.mark.parametrize(
    ("at_first", "said"),
    [
        (True, "0.weight requires no gradient any more"),
        (False, "0.weight required no gradient at the beginning, and does"),
    ],
)
def test_what_is_frozen_or_thawed_later_is_named(method: str, at_first: bool, said: str) -> None:
    model = network()
    model[0].requires_grad_(at_first)
    precondition = Preconditioner(model, method)
    precondition.backward(closure_of(model))
    model[0].requires_grad_(not at_first)
    with pytest.raises(ValueError, match=said):
        precondition.backward(closure_of(model))


def test_hooks_are_told_of_a_step_once() -> None:
    build("adam", network(), lr=0.01)  # torch hooks into the steps of classes as their first optimizer is made
    model, optimizer = begun("kfac", 0)
    told: list[str] = []

    def before(*_: object) -> None:
        told.append("before")

    def after(*_: object) -> None:
        told.append("after")

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)
    optimizer.step(closure_of(model))
    assert told == ["before", "after"]


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (
            lambda loss, outputs: (loss, {"logits": outputs}),
            "the closure returned a dict as outputs: return the tensor",
        ),
        (lambda loss, outputs: (loss, outputs.sum()), "the closure returned a single number as outputs"),
        (lambda loss, outputs: (loss, outputs, 1), r"or \(loss, outputs\), without calling backward"),
        (lambda loss, outputs: (loss, outputs.detach()), "the outputs that were returned with the loss are detached"),
    ],
)
@pytest.mark.parametrize("method", ["kfac", "hessian_free"])
def test_a_closure_that_gives_something_else_is_told(method: str, give: Callable[..., Any], said: str) -> None:
    model = network()
    with pytest.raises(ValueError, match=said):
        Preconditioner(model, method).backward(lambda: give(*closure_of(model)()))


@pytest.mark.parametrize("method", ["kfac", "psgd", "hessian_free"])
def test_a_mini_batch_without_examples_is_refused(method: str) -> None:
    model = network()
    precondition = Preconditioner(model, method)
    with pytest.raises(ValueError, match="the mini-batch has no examples"):
        precondition.backward(closure_of(model, INPUTS[:0]))
    assert precondition.layers is None


class Branches(nn.Module):
    """Runs one of two layers, and one more whose outputs the loss is not made of."""

    def __init__(self, *, idle: bool) -> None:
        super().__init__()
        self.first, self.second, self.head, self.aside = (nn.Linear(5, 5) for _ in range(4))
        self.now, self._idle = self.first, idle

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.now(inputs))
        if self._idle:
            self.aside(hidden)
        outputs: Tensor = self.head(hidden)
        return outputs


@pytest.mark.filterwarnings("ignore:smw_ngd leaves these gradients")
def test_layers_that_are_missed_are_named() -> None:
    model = Branches(idle=False)
    precondition = Preconditioner(model, "smw_ngd")
    precondition.backward(closure_of(model))
    model.now = model.second
    with pytest.raises(ValueError, match=r"took no part in this mini-batch, those of first\.weight, first\.bias"):
        precondition.backward(closure_of(model))


@pytest.mark.filterwarnings("ignore:kfac leaves these gradients")
def test_layers_on_which_the_loss_does_not_depend_are_named() -> None:
    model = Branches(idle=True)
    with pytest.raises(ValueError, match=r"the loss does not depend on aside\.weight, aside\.bias"):
        Preconditioner(model, "kfac").backward(closure_of(model))


class Table(nn.Module):
    """A table whose gradients are sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(12, 4, sparse=True), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.table(inputs).mean(1))
        return outputs


@pytest.mark.parametrize("method", PRODUCTS)
def test_products_with_curvature_say_that_gradients_are_sparse(method: str) -> None:
    model = Table()
    with pytest.raises(RuntimeError, match="use sparse=False in the embedding"):
        Preconditioner(model, method).backward(closure_of(model, torch.arange(24).reshape(12, 2) % 12))


class Mixed(nn.Module):
    """Layers in three precisions."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.low = nn.Linear(5, 4, dtype=torch.bfloat16)
        self.middle, self.high = nn.Linear(4, 4), nn.Linear(4, 3, dtype=torch.float64)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.middle(self.low(inputs.bfloat16()).float()))
        outputs: Tensor = self.high(hidden.double())
        return outputs


@pytest.mark.parametrize("method", LOOKING)
def test_parameters_may_be_of_several_precisions(method: str) -> None:
    model = Mixed()
    precondition = Preconditioner(model, method)
    for _ in range(2):
        precondition.backward(closure_of(model), lr=0.1)
    for param in model.parameters():
        assert param.grad is not None
        assert param.grad.dtype == param.dtype
        assert bool(param.grad.isfinite().all())
    assert precondition.skipped == 0


class Dropping(nn.Module):
    """Remembers which units dropped out in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3)
        self.masks: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        mask = self.drop(torch.ones(len(inputs), 8))
        self.masks.append(mask)
        outputs: Tensor = self.last(torch.tanh(self.first(inputs)) * mask)
        return outputs


def test_a_second_look_at_a_mini_batch_drops_the_same_units() -> None:
    model = Dropping()
    precondition = Preconditioner(model, "kbfgs")
    torch.manual_seed(3)
    precondition.backward(closure_of(model))
    precondition.backward(closure_of(model))
    torch.manual_seed(3)
    once = [model.drop(torch.ones(len(INPUTS), 8)) for _ in range(2)]
    assert len(model.masks) == 4  # each step looks twice
    for mask, wanted in zip(model.masks, [once[0], once[0], once[1], once[1]], strict=True):
        assert torch.equal(mask, wanted)


class Sequences(nn.Module):
    """Gives a row of outputs for each position, made of all positions before it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(5, 3), nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(torch.tanh(self.first(inputs)).cumsum(1))
        return outputs


def gauss_newton(model: nn.Module, inputs: Tensor, loss: str) -> Tensor:
    """Return the mean over rows of J^T H J, with H of a row's own loss by its outputs."""
    named = {name: param.detach() for name, param in model.named_parameters()}
    found = torch.func.jacrev(lambda params: torch.func.functional_call(model, params, (inputs,)))(named)
    outputs = model(inputs).detach().flatten(0, 1)
    slopes = torch.cat([part.reshape(*outputs.shape, -1) for part in found.values()], dim=-1)
    shares = outputs.softmax(dim=-1)
    curved = torch.diag_embed(shares) - shares[:, :, None] * shares[:, None, :]
    bends = curved if loss == "cross_entropy" else torch.eye(2, dtype=curved.dtype).expand_as(curved)
    return torch.einsum("rki,rkl,rlj->ij", slopes, bends, slopes) / len(outputs)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("method", ["ngd_full", "ngd_diagonal"])
def test_the_exact_fisher_of_several_rows_is_the_gauss_newton_matrix(method: str, loss: str, flat: bool) -> None:
    model, inputs, damping = Sequences().double(), INPUTS.reshape(3, 4, 5).double(), 0.1

    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(inputs)
        rows = outputs.flatten(0, 1)
        of = rows.square().mean() if loss == "squared_error" else F.cross_entropy(rows, TARGETS % 2)
        return of, rows if flat else outputs

    params = list(model.parameters())
    gradient = torch.cat([grad.flatten() for grad in torch.autograd.grad(closure()[0], params)])
    matrix = gauss_newton(model, inputs, loss)
    held = torch.diag(matrix.diagonal()) if method == "ngd_diagonal" else matrix
    wanted = torch.linalg.solve(held + damping * torch.eye(len(held), dtype=held.dtype), gradient)
    Preconditioner(model, method, loss=loss, fisher="exact", damping=damping).backward(closure)
    found = torch.cat([param.grad.flatten() for param in params if param.grad is not None])
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
