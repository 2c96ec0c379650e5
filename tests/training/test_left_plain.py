"""A trial says by name which parameters its method leaves to the plain gradient, alone and in a lane."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.recorder import Recorder
from training import loop
from training.data.bundled import load
from training.data.examples import Examples, InMemory
from training.networks.table import build_network
from training.plan import plan_of
from training.population.lane import Lane
from training.watch import Ending


def some(examples: Examples) -> InMemory:
    return InMemory(*next(examples.blocks(100)))


ALL = load("digits")
DIGITS = replace(ALL, train=some(ALL.train), val=some(ALL.val))
TRANSFORMER = {"kind": "transformer", "width": 8, "depth": 1, "heads": 2}
MLP = {"kind": "mlp", "hidden": [8]}
# Attention that torch fuses hides its layers, those of the projections into and out of it.
FUSED = """
from torch import nn

class Net(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, outputs)

    def forward(self, x):
        rows = x.squeeze(1)
        return self.last(self.attention(rows, rows, rows, need_weights=False)[0].mean(dim=1))

def build(shape, outputs):
    return Net(outputs)
"""
LEFT = "leaves these gradients as they are, of no layer that it knows:"
ATTENTION = (
    f"kfac {LEFT} attention.in_proj_weight, attention.in_proj_bias, attention.out_proj.weight, attention.out_proj.bias"
)
# The first five of seven.
OF_NO_MATRIX = (
    f"kbfgs {LEFT} positions.weight, block1.norm1.weight, block1.norm1.bias, block1.norm2.weight, block1.norm2.bias "
    "and 2 more"
)
CASES: list[tuple[dict[str, Any], str, str | None]] = [
    ({"kind": "registered"}, "kfac", ATTENTION),
    ({"kind": "registered"}, "adam", None),
    (TRANSFORMER, "kbfgs", OF_NO_MATRIX),
    (TRANSFORMER, "kfac", None),
    (TRANSFORMER, "psgd", None),
    (MLP, "kfac", None),
    (MLP, "kbfgs", None),
]


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> str:
    path = tmp_path / "nets.py"
    path.write_text(FUSED)
    return str(path)


def spec_of(network: dict[str, Any], file: str) -> dict[str, Any]:
    return network | ({"file": file} if network["kind"] == "registered" else {})


@pytest.mark.parametrize(("network", "optimizer", "said"), CASES)
def test_members_say_it_as_a_run_alone_does(
    network: dict[str, Any], optimizer: str, said: str | None, file: str
) -> None:
    built, plan = (
        build_network(spec_of(network, file), DIGITS),
        plan_of({"epochs": 1}, {"optimizer": optimizer, "lr": 1e-3}),
    )
    assert loop.train(built, DIGITS, plan, seed=1, watch=Recorder()) == Ending("completed", said)
    lane = Lane(built, DIGITS)
    lane.join([loop.start(built, DIGITS, plan, seed=seed, watch=Recorder()) for seed in (1, 2)])
    ended = []
    while lane.runs:
        ended += lane.advance()
    assert [ending for _, ending in ended] == [Ending("completed", said)] * 2
