"""Preconditioning in a loop of one's own."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim.build import build
from optim.precondition.interface import Preconditioner
from optim.precondition.methods import METHODS

INPUTS = torch.randn(32, 6, generator=torch.Generator().manual_seed(1))
TARGETS = torch.randint(3, (32,), generator=torch.Generator().manual_seed(2))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def closure_of(model: nn.Module) -> Callable[[], tuple[Tensor, Tensor]]:
    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(INPUTS)
        return F.cross_entropy(outputs, TARGETS), outputs

    return closure


def gradients(model: nn.Module) -> list[Tensor]:
    return [param.grad.clone() for param in model.parameters() if param.grad is not None]


@dataclass
class Answer:
    logits: Tensor
    loss: Tensor | None = None


class Wrapped(nn.Module):
    """A model that gives its logits in some form."""

    def __init__(self, give: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.body, self._give = network(), give

    def forward(self, inputs: Tensor) -> Any:
        return self._give(self.body(inputs))


FORMS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = {
    "tensor": (lambda logits: logits, lambda found: found),
    "tuple": (lambda logits: (logits, "more"), lambda found: found[0]),
    "dict": (lambda logits: {"logits": logits}, lambda found: found["logits"]),
    "dataclass": (Answer, lambda found: found.logits),
    "a further operation": (lambda logits: logits / 2, lambda found: found * 2),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("method", METHODS)
def test_one_script_for_every_method_and_every_form_of_output(method: str, form: str) -> None:
    give, take = FORMS[form]
    plain, wrapped = network(), Wrapped(give)

    def closure() -> tuple[Tensor, Tensor]:
        logits = take(wrapped(INPUTS))
        return F.cross_entropy(logits, TARGETS), logits

    loss = Preconditioner(plain, method).backward(closure_of(plain))
    assert Preconditioner(wrapped, method).backward(closure) == pytest.approx(loss)
    for one, other in zip(gradients(plain), gradients(wrapped), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "optimizer", [torch.optim.SGD, torch.optim.Adam, lambda params, lr: build("nesterov", params, lr=lr)]
)
def test_any_optimizer_steps_along_what_it_leaves(method: str, optimizer: Any) -> None:
    model = network()
    precondition, stepping = Preconditioner(model, method), optimizer(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        losses.append(float(precondition.backward(closure_of(model), lr=1e-2)))
        stepping.step()
    assert losses[-1] < losses[0]
    assert all(math.isfinite(loss) for loss in losses)


def test_the_mean_and_the_sum_of_losses_are_told_apart() -> None:
    mean, total = network(), network()

    def closure() -> tuple[Tensor, Tensor]:
        outputs = total(INPUTS)
        return F.cross_entropy(outputs, TARGETS, reduction="sum"), outputs

    loss = Preconditioner(mean, "kfac").backward(closure_of(mean))
    assert Preconditioner(total, "kfac", reduction="sum").backward(closure) == pytest.approx(float(loss) * len(INPUTS))
    for one, other in zip(gradients(mean), gradients(total), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


class Losses(nn.Module):
    """A network of outputs (n, positions, k) and its loss, by torch's mean or sum."""

    def __init__(self, loss: str, reduction: str) -> None:
        super().__init__()
        self.body, self._loss, self._reduction = network(), loss, reduction

    def forward(self) -> tuple[Tensor, Tensor]:
        outputs = self.body(torch.stack([INPUTS, INPUTS.flip(0)], dim=1))
        if self._loss == "squared_error":
            return F.mse_loss(outputs, torch.ones_like(outputs), reduction=self._reduction), outputs
        targets = torch.stack([TARGETS, TARGETS.flip(0)], dim=1).flatten()
        return F.cross_entropy(outputs.flatten(0, 1), targets, reduction=self._reduction), outputs


@pytest.mark.parametrize(("loss", "terms"), [("squared_error", 32 * 2 * 3), ("cross_entropy", 32 * 2)])
@pytest.mark.parametrize("method", ["kfac", "ngd_full", "hessian_free", "shampoo"])
def test_a_sum_is_over_all_that_the_mean_is_over(method: str, loss: str, terms: int) -> None:
    mean, total = Losses(loss, "mean"), Losses(loss, "sum")
    found = Preconditioner(mean, method, loss=loss).backward(mean)
    summed = Preconditioner(total, method, loss=loss, reduction="sum").backward(total)
    assert summed == pytest.approx(float(found) * terms)
    for one, other in zip(gradients(mean), gradients(total), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_a_sum_needs_the_outputs(loss: str) -> None:
    model = Losses(loss, "sum")
    precondition = Preconditioner(model, "kfac", loss=loss, reduction="sum", fisher="empirical")
    with pytest.raises(ValueError, match=r"a sum may be over positions or outputs, too: return \(loss, outputs\)"):
        precondition.backward(lambda: model()[0])


def test_a_sum_is_counted_at_steps_that_ask_about_nothing() -> None:
    mean, total = Losses("cross_entropy", "mean"), Losses("cross_entropy", "sum")
    one = Preconditioner(mean, "kfac", curvature_interval=10, interval=10)
    other = Preconditioner(total, "kfac", reduction="sum", curvature_interval=10, interval=10)
    for _ in range(3):
        one.backward(mean)
        other.backward(total)
    for given, found in zip(gradients(mean), gradients(total), strict=True):
        torch.testing.assert_close(given, found, rtol=1e-3, atol=1e-6)


class Placed(nn.Module):
    """Learns a vector for each token and one for each position."""

    def __init__(self, positions: int, *, axis: bool = False) -> None:
        super().__init__()
        self.tokens, self.places, self.last = nn.Embedding(9, 4), nn.Embedding(positions, 4), nn.Linear(4, 3)
        self.rows = torch.arange(positions).reshape((1, -1) if axis else (-1,))

    def forward(self, tokens: Tensor) -> Tensor:
        where = self.places(self.rows)
        outputs: Tensor = self.last(torch.tanh(self.tokens(tokens) + where).mean(dim=1))
        return outputs


@pytest.mark.parametrize("first", [32, 1])
@pytest.mark.parametrize("axis", [False, True])
@pytest.mark.parametrize("length", [5, 8, 32])
@pytest.mark.parametrize("method", ["kfac", "ngd_diagonal"])
def test_positions_are_no_examples_even_where_they_are_as_many(
    method: str, length: int, axis: bool, first: int
) -> None:
    model, tokens = Placed(length, axis=axis), torch.randint(9, (32, length))

    def closure(count: int = first) -> tuple[Tensor, Tensor]:
        outputs = model(tokens[:count])
        return F.cross_entropy(outputs, TARGETS[:count]), outputs

    precondition = Preconditioner(model, method, kl_clip=0.0)
    with pytest.warns(UserWarning, match=r"as they are, of no layer that it knows: places\.weight$"):
        precondition.backward(closure)
    torch.testing.assert_close(model.places.weight.grad, torch.autograd.grad(closure()[0], model.places.weight)[0])
    precondition.backward(lambda: closure(7))  # a smaller batch, as at the end of an epoch


def test_one_token_of_each_example_is_no_position() -> None:
    model, tokens = nn.Sequential(nn.Embedding(40, 4), nn.Linear(4, 3)), torch.randperm(32)

    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(tokens)
        return F.cross_entropy(outputs, TARGETS), outputs

    precondition = Preconditioner(model, "kfac")
    precondition.backward(closure)
    assert precondition.plain == []


class Fused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        rows = self.first(inputs).reshape(-1, 1, 4, 2)
        outputs: Tensor = self.last(F.scaled_dot_product_attention(rows, rows, rows).flatten(1))
        return outputs


@pytest.mark.parametrize("method", ["psgd", "hessian_free", "newton"])
def test_what_to_do_with_attention_that_torch_fuses(method: str) -> None:
    model = Fused()
    options: dict[str, Any] = {"matrix": "hessian"} if method == "hessian_free" else {}
    precondition = Preconditioner(model, method, **options)
    with pytest.raises(RuntimeError, match=r"is not implemented: products with curvature .*SDPBackend\.MATH"):
        precondition.backward(closure_of(model))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert torch.isfinite(Preconditioner(model, method, **options).backward(closure_of(model)))


def test_it_goes_on_from_a_saved_state(tmp_path: Any) -> None:
    def run(steps: int, model: nn.Module, precondition: Preconditioner) -> list[Tensor]:
        stepping = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(steps):
            precondition.backward(closure_of(model), lr=0.05)
            stepping.step()
        return [param.detach().clone() for param in model.parameters()]

    model = network()
    whole = run(7, model, Preconditioner(model, "kfac", interval=3))
    model = network()
    first = Preconditioner(model, "kfac", interval=3)
    run(4, model, first)
    torch.save({"model": model.state_dict(), "precondition": first.state_dict()}, tmp_path / "saved.pt")
    saved = torch.load(tmp_path / "saved.pt")
    again = network()
    again.load_state_dict(saved["model"])
    second = Preconditioner(again, "kfac", interval=3)
    second.load_state_dict(saved["precondition"])
    assert all(torch.equal(one, other) for one, other in zip(whole, run(3, again, second), strict=True))
    with pytest.raises(ValueError, match="the state is of seng, and this is kfac"):
        second.load_state_dict({"method": "seng", "state": None})


def test_parameters_in_no_known_layer_keep_their_gradients_and_are_named_once() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.odd = network(), nn.Parameter(torch.ones(3, 3))

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.body(inputs) @ self.odd
            return outputs

    model = Odd()
    closure = closure_of(model)
    precondition = Preconditioner(model, "kfac", kl_clip=0.0)
    with pytest.warns(UserWarning, match="as they are, of no layer that it knows: odd$"):
        precondition.backward(closure)
    preconditioned = model.odd.grad
    assert precondition.plain == ["odd"]
    loss, _ = closure()
    torch.testing.assert_close(preconditioned, torch.autograd.grad(loss, model.odd)[0])


def test_what_is_not_finite_is_counted_and_the_last_good_stays() -> None:
    model, held = network(), copy.deepcopy(INPUTS)

    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(held)
        return F.cross_entropy(outputs, TARGETS), outputs

    precondition = Preconditioner(model, "kfac", interval=1, curvature_interval=1)
    precondition.backward(closure)
    good = [tensor.clone() for tensor in precondition.state_dict()["state"]["inverse"]]
    held[0, 0] = torch.inf
    precondition.backward(closure)
    assert precondition.skipped > 0
    assert all(
        torch.equal(one, other) for one, other in zip(good, precondition.state_dict()["state"]["inverse"], strict=True)
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "nonsense"}, "unknown method 'nonsense'; valid: kfac"),
        ({"method": "kfac", "loss": "hinge"}, "unknown loss 'hinge'; valid: cross_entropy, squared_error"),
        ({"method": "kfac", "reduction": "none"}, "unknown reduction 'none'; valid: mean, sum"),
        ({"method": "kfac", "damping": 0.0}, r"damping: must be in \(0, 1e\+12\], got 0.0"),
        ({"method": "kfac", "damping": -1.0}, "damping: must be in"),
        ({"method": "kfac", "interval": 0}, "interval: must be a whole number|interval: must be in"),
        ({"method": "kfac", "curvature_interval": 0.5}, "curvature_interval: must be a whole number"),
        ({"method": "kfac", "block": 3}, "block: not an option of kfac; valid: lr, momentum"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preconditioner(network(), **given)


def test_a_closure_must_give_the_loss() -> None:
    model = network()
    for given in (lambda: 0.5, lambda: model(INPUTS), lambda: torch.tensor(1.0)):
        with pytest.raises(ValueError, match="the closure must return the loss, one number"):
            Preconditioner(model, "kfac").backward(given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'return \(loss, outputs\) from the closure, or choose fisher="empirical"'):
        Preconditioner(model, "kfac").backward(lambda: F.cross_entropy(model(INPUTS), TARGETS))
    Preconditioner(model, "kfac", fisher="empirical").backward(lambda: F.cross_entropy(model(INPUTS), TARGETS))


def test_a_model_without_parameters_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="no parameters that require gradients"):
        Preconditioner(network().requires_grad_(False), "kfac")


class Tempered(nn.Module):
    """A network whose outputs are divided by a learned temperature, one number."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.temperature = network(), nn.Parameter(torch.tensor(2.0))

    def forward(self) -> tuple[Tensor, Tensor]:
        outputs = self.body(INPUTS) / self.temperature
        return F.cross_entropy(outputs, TARGETS), outputs


@pytest.mark.parametrize(
    "method", ["newton", "absolute_newton", "hessian_free", "neumann", "curveball", "psgd", "shampoo"]
)
@pytest.mark.filterwarnings("ignore:.*leaves these gradients as they are")
def test_a_parameter_may_be_one_number(method: str) -> None:
    model = Tempered()
    Preconditioner(model, method).backward(model)
    assert model.temperature.grad is not None
    assert model.temperature.grad.shape == ()
    assert model.temperature.grad.isfinite()
