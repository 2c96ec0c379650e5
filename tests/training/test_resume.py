"""A run that was interrupted, and went on from the file that it left, is the run that never was: bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from optim import catalog
from tests.support.sources import ROOT
from training import checkpoint, recipes
from training.files import Saved
from training.state import FORMAT, Snapshot, State, fits, restore, snapshot
from training.watch import Pause

MLP = {"kind": "mlp", "hidden": [8]}
CNN = {"kind": "cnn", "channels": [4]}
OWN = {"kind": "registered", "file": str(ROOT / "examples" / "network" / "nets.py"), "options": {"width": 4}}
# batches of an epoch by network: 120 of iris by 32, 1437 of digits by 512
BATCHES = {"mlp": 4, "cnn": 3, "registered": 3}
WHERE = ["in the first batches", "mid-epoch", "epoch trained, not reported", "between epochs"]
EPOCHS = 3


class Tape:
    """Writes a checkpoint at some looks, counted from `first`, stops at one of them, goes on from a file."""

    def __init__(self, folder: Path, *, save_at: set[int], stop_at: int = -1, first: int = 0) -> None:
        self._folder = folder
        self._save_at = save_at
        self._stop_at = stop_at
        self._looks = first
        self.go_on_from: Saved | None = None
        self.measured: list[tuple[int, dict[str, float]]] = []
        self.saved: dict[int, Saved] = {}

    def resume(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:
        if self.go_on_from is None:
            return None
        found = checkpoint.read(self.go_on_from)
        assert found is not None
        assert fits(found)
        return found

    def report(self, step: int, values: dict[str, float]) -> None:
        self.measured.append((step, values))

    def between(self) -> Pause:
        self._looks += 1
        stop = Pause.STOP if self._looks == self._stop_at else Pause.NONE
        return stop | (Pause.SAVE if self._looks in self._save_at else Pause.NONE)

    def save(self, step: int, snapshot: Snapshot) -> None:
        self.saved[self._looks] = checkpoint.write(self._folder / f"{len(self.saved)}.pt", step, snapshot)


def run(tape: Tape, network: dict[str, Any], params: dict[str, Any]) -> str:
    data, size = ("iris", 32) if network is MLP else ("digits", 512)
    goal = {"recipe": "classifier", "data": data, "network": network, "epochs": EPOCHS, "batch_size": size}
    schedule = {"lr": 0.02, "schedule": "cosine", "warmup": 0.3}
    return recipes.run(goal, schedule | params, seed=11, watch=tape).outcome


def same(one: Snapshot, other: Snapshot) -> bool:
    tensors = all(torch.equal(mine, its) for mine, its in zip(one["tensors"], other["tensors"], strict=True))
    names = set(one) - {"tensors", "order"}
    return tensors and torch.equal(one["order"], other["order"]) and all(one[name] == other[name] for name in names)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("network", [MLP, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", list(catalog.OPTIMIZERS))
def test_goes_on_as_if_nothing_had_been(optimizer: str, network: dict[str, Any], where: str, tmp_path: Path) -> None:
    check_goes_on(optimizer, network, where, tmp_path)


@pytest.mark.parametrize("where", WHERE)
def test_a_network_of_users_goes_on_too(where: str, tmp_path: Path) -> None:
    check_goes_on("adamw", OWN, where, tmp_path)


def check_goes_on(optimizer: str, network: dict[str, Any], where: str, tmp_path: Path) -> None:
    looks = BATCHES[network["kind"]] + 1
    cut = {"in the first batches": 1, "mid-epoch": looks + 2, "epoch trained, not reported": 2 * looks - 1}.get(
        where, 2 * looks
    )
    params = {"optimizer": optimizer, "weight_decay": 0.01}
    end = looks * EPOCHS - 1  # after the last batch of all
    for folder in ("whole", "first", "rest"):
        (tmp_path / folder).mkdir()

    whole = Tape(tmp_path / "whole", save_at={cut, end})
    assert run(whole, network, params) == "completed"
    first = Tape(tmp_path / "first", save_at={cut}, stop_at=cut)
    assert run(first, network, params) == "stopped"
    rest = Tape(tmp_path / "rest", save_at={end}, first=cut)
    rest.go_on_from = first.saved[cut]
    assert run(rest, network, params) == "completed"

    assert first.measured + rest.measured == whole.measured
    assert [step for step, _ in whole.measured] == [1, 2, 3]
    assert rest.go_on_from.step == len(first.measured)
    ended, expected = (checkpoint.read(tape.saved[end]) for tape in (rest, whole))
    assert ended is not None
    assert expected is not None
    assert same(ended, expected)


def test_a_run_may_be_cut_again_and_again(tmp_path: Path) -> None:
    """One batch an attempt, and the same story in the end."""
    whole = Tape(tmp_path, save_at=set())
    run(whole, MLP, {"optimizer": "adam"})
    told: list[tuple[int, dict[str, float]]] = []
    saved = None
    looks = EPOCHS * (BATCHES["mlp"] + 1)
    for look in range(1, looks):
        piece = Tape(tmp_path, save_at={look}, stop_at=look, first=look - 1)
        piece.go_on_from = saved
        assert run(piece, MLP, {"optimizer": "adam"}) == "stopped"
        saved = piece.saved[look]
        told += piece.measured
    last = Tape(tmp_path, save_at=set(), first=looks - 1)
    last.go_on_from = saved
    assert run(last, MLP, {"optimizer": "adam"}) == "completed"
    assert told + last.measured == whole.measured


def test_a_divergence_is_found_after_the_interruption_too(tmp_path: Path) -> None:
    """The loss before training, to which an explosion is compared, is that of the first attempt."""
    explodes = {"optimizer": "sgd", "lr": 30.0, "schedule": "constant", "warmup": 0.0}
    whole = Tape(tmp_path, save_at={1})
    assert run(whole, CNN, explodes) == "diverged"
    rest = Tape(tmp_path, save_at=set(), first=1)
    rest.go_on_from = whole.saved[1]
    assert run(rest, CNN, explodes) == "diverged"
    assert rest.measured == whole.measured


def test_nothing_is_saved_at_the_very_end(tmp_path: Path) -> None:
    """A run that went on from there would have nothing to report."""
    tape = Tape(tmp_path, save_at=set(range(100)))
    assert run(tape, MLP, {}) == "completed"
    assert max(tape.saved) == EPOCHS * (BATCHES["mlp"] + 1) - 1


def state(*shapes: tuple[int, ...]) -> State:
    params = [torch.arange(float(torch.Size(shape).numel())).reshape(shape) for shape in shapes]
    nested: dict[str, Any] = {"moments": ([torch.ones(2)], torch.tensor(3.0, dtype=torch.float64))}
    return State(params, nested, torch.Generator().get_state(), initial=2.5, epoch=4, batches=1, total=0.1)


def test_any_nest_of_tensors_comes_back() -> None:
    was = state((2, 3), (3,))
    again = restore(state((2, 3), (3,)), snapshot(was))
    assert again.rule.keys() == was.rule.keys()
    assert isinstance(again.rule["moments"], tuple)
    assert again.rule["moments"][1].dtype == torch.float64
    assert all(param.requires_grad for param in again.params)
    assert same(snapshot(again), snapshot(was))


def test_what_goes_on_shares_no_memory_with_the_snapshot() -> None:
    saved = snapshot(state((2,)))
    again = restore(state((2,)), saved)
    with torch.no_grad():
        again.params[0].add_(1)
    assert torch.equal(saved["tensors"][0], torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize(
    "change",
    [
        {"format": FORMAT + 1},
        {"tensors": []},
        {"tensors": [torch.zeros(3), torch.ones(2), torch.ones(())]},
        {"tensors": [torch.zeros(2, dtype=torch.float64), torch.ones(2), torch.ones((), dtype=torch.float64)]},
    ],
)
def test_a_snapshot_of_another_run_does_not_fit(change: dict[str, Any]) -> None:
    here = state((2,))
    assert fits(here, snapshot(here))
    assert not fits(here, snapshot(here) | change)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_too(tmp_path: Path) -> None:
    def train(tape: Tape) -> list[tuple[int, dict[str, float]]]:
        goal = {"recipe": "classifier", "data": "digits", "network": CNN, "epochs": 3, "device": "gpu"}
        recipes.run(goal, {"optimizer": "adam", "lr": 0.01}, seed=11, watch=tape)
        return tape.measured

    whole = train(cut := Tape(tmp_path, save_at={60}))
    rest = Tape(tmp_path, save_at=set(), first=60)
    rest.go_on_from = cut.saved[60]
    went_on = train(rest)
    assert [step for step, _ in went_on] == [2, 3]
    for (_, here), (_, there) in zip(went_on, whole[1:], strict=True):
        assert here["val_loss"] == pytest.approx(there["val_loss"], rel=1e-3)


def test_snapshots_hold_tensors_of_the_cpu_alone() -> None:
    held = snapshot(state((2,)))["tensors"]
    assert all(isinstance(tensor, Tensor) and tensor.device.type == "cpu" for tensor in held)
