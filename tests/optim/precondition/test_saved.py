"""States of other networks are refused before anything is made of them."""

import copy
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim.build import build
from optim.precondition.interface import Preconditioner
from optim.precondition.methods import METHODS, asks

INPUTS, TARGETS = torch.randn(12, 6), torch.randint(3, (12,))
ASKING = [method for method in METHODS if asks(method)]


def network(width: int = 8, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, width), activation(), nn.Linear(width, 3))


def stepped(method: str, model: nn.Module, **options: Any) -> Any:
    optimizer = build(method, model, lr=0.01, **options)
    optimizer.step(closure_of(model))
    return optimizer


def closure_of(model: nn.Module) -> Any:
    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(INPUTS)
        return F.cross_entropy(outputs, TARGETS), outputs

    return closure


@pytest.mark.parametrize("method", ASKING)
def test_the_state_of_another_network_is_refused(method: str) -> None:
    saved, other = stepped(method, network(8)).state_dict(), stepped(method, network(5))
    before = copy.deepcopy(other.precondition.state_dict())
    says = (
        r"the state is of another network: 0.weight is \(5, 6\) here and \(8, 6\) there: load it into the network that"
    )
    with pytest.raises(ValueError, match=says.replace("0.weight", r"(0.weight|\[0\])")):
        other.load_state_dict(saved)
    torch.testing.assert_close(other.precondition.state_dict()["state"], before["state"])
    deeper = build(method, nn.Sequential(network(), nn.Linear(3, 3)), lr=0.01)
    with pytest.raises(ValueError, match="the state is of a network of 4 parameters, and this has 6"):
        deeper.load_state_dict(saved)


@pytest.mark.parametrize("method", ASKING)
def test_its_own_is_taken(method: str) -> None:
    model = network()
    first = stepped(method, model)
    second_model = copy.deepcopy(model)
    second: Any = build(method, second_model, lr=0.01)
    second.load_state_dict(first.state_dict())
    old = copy.deepcopy(first.state_dict()["precondition"])
    old.pop("shapes")
    old.pop("layers")
    second.precondition.load_state_dict(old)  # of before shapes and layers were saved
    for each, of in ((first, model), (second, second_model)):
        each.step(closure_of(of))
    for one, other in zip(model.parameters(), second_model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_is_refused_changes_nothing() -> None:
    running = stepped("kfac", network())
    before = copy.deepcopy(running.state_dict())
    other = stepped("kfac", nn.Sequential(network(), nn.Linear(3, 3))).precondition.state_dict()
    for wrong in (
        {},
        {"method": "kfac"},
        {"method": "kfac", "state": 3},
        {"method": "shampoo", "state": None},
        other | {"shapes": before["precondition"]["shapes"]},
    ):
        with pytest.raises(ValueError, match="state"):
            running.precondition.load_state_dict(wrong)
    groups = before | {"param_groups": before["param_groups"] * 2}
    with pytest.raises(ValueError, match="parameter group"):
        running.load_state_dict(groups)
    torch.testing.assert_close(running.state_dict()["precondition"]["state"], before["precondition"]["state"])


def test_a_state_of_before_the_first_step_begins_anew_and_another_precision_is_taken_over() -> None:
    model = network()
    running = stepped("kfac", model)
    saved = running.precondition.state_dict()
    running.precondition.load_state_dict({"method": "kfac", "state": None})
    assert running.precondition.state_dict()["state"] is None
    precise: Any = build("kfac", copy.deepcopy(model).double(), lr=0.01)
    precise.precondition.load_state_dict(saved)


def test_a_state_that_is_laid_out_otherwise_is_refused_where_it_is_needed() -> None:
    first, model = stepped("kfac", network()), nn.Sequential(nn.Embedding(8, 6), nn.Flatten(), nn.Linear(6, 3))
    saved = first.precondition.state_dict() | {"shapes": [list(param.shape) for param in model.parameters()]}
    with pytest.raises(ValueError, match="of another network: it has layers of parameters that this one lacks"):
        Preconditioner(model, "kfac").load_state_dict(saved)
    saved.pop("layers")  # as before these were saved
    second = Preconditioner(model, "kfac")
    second.load_state_dict(saved)
    tokens = torch.randint(8, (12,))

    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(tokens)
        return F.cross_entropy(outputs, TARGETS), outputs

    with pytest.raises(ValueError, match="or of other options: curvature, inverse is laid out otherwise"):
        second.backward(closure)


class Positions(nn.Module):
    """Asks for positions, the last first, in a row of their own, which is as many as a mini-batch of one example has."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions, self.last = nn.Embedding(9, 6), nn.Embedding(12, 6), nn.Linear(6, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        rows = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]).flip(0).unsqueeze(0))
        outputs: Tensor = self.last(rows.tanh().mean(1))
        return outputs


@pytest.mark.parametrize(("sizes", "plain"), [((1, 8), []), ((8, 1), ["positions.weight"])])
def test_a_resumed_run_has_the_layers_that_the_first_mini_batch_showed(
    sizes: tuple[int, int], plain: list[str], tmp_path: Path
) -> None:
    model = Positions()

    def closure(count: int) -> Any:
        tokens, targets = torch.arange(4 * count).flip(0).reshape(count, 4) % 9, torch.arange(count) % 3

        def outputs_and_loss() -> tuple[Tensor, Tensor]:
            outputs = model(tokens)
            return F.cross_entropy(outputs, targets), outputs

        return outputs_and_loss

    def gradients(precondition: Preconditioner) -> list[Tensor]:
        precondition.backward(closure(sizes[1]))
        assert precondition.plain == plain
        return [param.grad.clone() for param in model.parameters() if param.grad is not None]

    whole = Preconditioner(model, "kfac", interval=1)

    def told() -> AbstractContextManager[object]:
        """Each process warns once of what is left."""
        return pytest.warns(UserWarning, match=r"positions\.weight$") if plain else nullcontext()

    with told():
        whole.backward(closure(sizes[0]))
    torch.save(whole.state_dict(), tmp_path / "saved.pt")
    resumed = Preconditioner(model, "kfac", interval=1)
    resumed.load_state_dict(torch.load(tmp_path / "saved.pt", weights_only=True))
    wanted = gradients(whole)
    with told():
        found = gradients(resumed)
    assert len(found) == len(wanted) == 4
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


def test_a_state_is_placed_where_the_parameters_are_at_the_first_step() -> None:
    saved, model = stepped("kfac", network()).precondition.state_dict(), network()
    precondition = Preconditioner(model, "kfac", interval=10)
    precondition.load_state_dict(saved)
    model.double()

    def closure() -> tuple[Tensor, Tensor]:
        outputs = model(INPUTS.double())
        return F.cross_entropy(outputs, TARGETS), outputs

    precondition.backward(closure)
    state = precondition.state_dict()["state"]
    assert {tensor.dtype for tensor in [*state["curvature"], *state["inverse"]]} == {torch.float64}


def test_a_state_without_a_preconditioner_is_refused() -> None:
    saved = build("momentum", network(), lr=0.01).state_dict()
    with pytest.raises(ValueError, match="no preconditioner in it: it is of an optimizer that is not kfac"):
        build("kfac", network(), lr=0.01).load_state_dict(saved)
