"""What a coarser precision costs: a run in bfloat16 follows the one in float32."""

from typing import Any

import pytest
import torch

from tests.training.recorder import measure
from training.population.stacking import why_alone
from training.precision import PRECISIONS, check_precision, products_in
from training.recipes import prepare

DIGITS: dict[str, Any] = {
    "recipe": "classifier",
    "data": "digits",
    "network": {"kind": "mlp", "hidden": [32]},
    "epochs": 5,
}
PARAMS = {"optimizer": "momentum", "lr": 0.05}
# Of the losses after five epochs, and of the share of digits that are told right.
LOSS, ACCURACY = 0.05, 0.02


@pytest.mark.parametrize(
    "network", [{"kind": "mlp", "hidden": [32]}, {"kind": "cnn", "channels": [4]}, {"kind": "transformer", "depth": 1}]
)
def test_bfloat16_follows_float32(network: dict[str, Any]) -> None:
    goal = DIGITS | {"network": network}
    fine, coarse = (measure(goal | {"precision": name}, PARAMS)[1] for name in ("float32", "bfloat16"))
    assert fine != coarse, "or it was not computed coarsely at all"
    for name, close in (("train_loss", LOSS), ("val_loss", LOSS), ("val_accuracy", ACCURACY)):
        assert coarse[-1][1][name] == pytest.approx(fine[-1][1][name], rel=0, abs=close)


def test_tf32_on_the_cpu_is_float32() -> None:
    assert measure(DIGITS | {"precision": "tf32"}, PARAMS) == measure(DIGITS, PARAMS)


@pytest.mark.gpu
def test_tf32_follows_float32() -> None:
    fine, coarse = (measure(DIGITS | {"device": "gpu", "precision": name}, PARAMS)[1] for name in ("float32", "tf32"))
    for name in ("train_loss", "val_loss", "val_accuracy"):
        assert coarse[-1][1][name] == pytest.approx(fine[-1][1][name], rel=LOSS, abs=LOSS)


@pytest.mark.parametrize(("name", "called"), PRECISIONS.items())
def test_it_lasts_no_longer_than_the_run(name: str, called: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    before = torch.get_float32_matmul_precision()
    with products_in(name):
        assert torch.get_float32_matmul_precision() == called
    assert torch.get_float32_matmul_precision() == before == "highest"


@pytest.mark.parametrize("network", [{"kind": "mlp", "hidden": [8]}, {"kind": "cnn", "channels": [8, 16]}])
def test_a_network_in_bfloat16_stacks(network: dict[str, Any]) -> None:
    given = prepare(DIGITS | {"network": network, "precision": "bfloat16"}, {})
    assert why_alone(given.network, given.data, precision="bfloat16") is None


@pytest.mark.parametrize("name", ["float16", 32, None])
def test_an_unknown_one_is_refused(name: object) -> None:
    with pytest.raises(ValueError, match="valid: float32, tf32, bfloat16"):
        check_precision(name)
