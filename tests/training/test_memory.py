"""Out of memory: recognised, and answered with what to try."""

from typing import Any

import pytest
import torch

from tests.training.recorder import measure, objective
from training import __main__ as trainer
from training import evaluation, steps
from training.memory import OutOfMemory, advice, is_out_of_memory


@pytest.mark.parametrize(
    ("batch_size", "smaller"), [(2, 1), (3, 2), (4, 2), (5, 4), (64, 32), (65, 64), (100, 64), (1437, 1024)]
)
def test_the_next_smaller_batch(batch_size: int, smaller: int) -> None:
    assert advice(batch_size) == f"a batch of {batch_size} did not fit: try batch_size {smaller}"


def test_all_examples_at_once_need_the_other_mode() -> None:
    assert advice(1437, whole=True) == "a batch of 1437 did not fit: try batch_mode mini and batch_size 1024"


def test_below_one_example_there_is_only_a_smaller_network() -> None:
    assert "smaller network" in advice(1)


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("not enough memory"), False),
    ],
)
def test_what_is_out_of_memory(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one


def test_a_batch_that_does_not_fit_ends_the_run_and_says_what_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        torch.empty(2**60, dtype=torch.uint8)  # more than any host has

    monkeypatch.setattr(steps, "_step", refuse)
    with pytest.raises(OutOfMemory, match="a batch of 64 did not fit: try batch_size 32") as caught:
        measure(objective(data="digits"), {"batch_size": 64})
    assert trainer.reason_of(caught.value) == "out_of_memory: a batch of 64 did not fit: try batch_size 32"


def refuses_over(most: int) -> Any:
    """Return `means` of a host that has room for blocks of `most` examples."""
    real = evaluation.means

    def means(network: Any, params: Any, blocks: Any, measures: Any) -> Any:
        held = list(blocks)
        if max(len(targets) for _, targets in held) > most:
            torch.empty(2**60, dtype=torch.uint8)
        return real(network, params, held, measures)

    return means


def test_evaluation_takes_blocks_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = measure(objective(data="digits"), {})
    monkeypatch.setattr(evaluation, "means", refuses_over(10))
    outcome, parts = measure(objective(data="digits"), {})
    assert outcome.outcome == "completed"
    for (_, one), (_, other) in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_what_does_not_fit_by_single_examples_is_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "means", refuses_over(0))
    with pytest.raises(OutOfMemory, match="the network did not fit: try a smaller network"):
        measure(objective(data="digits"), {"batch_size": 64})
