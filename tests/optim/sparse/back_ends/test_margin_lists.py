"""Margin lists: how many are tried, and what is done to keep the lists true."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from optim.sparse.back_ends.margin_lists import MarginLists, preview
from optim.sparse.kernels.choice import kernels
from optim.sparse.thresholds import expected_share
from tests.optim.sparse import cases

SLACK = 0.25


def candidates(width: int) -> float:
    """Return how many candidates a query has at a width, as training begins."""
    threshold = cases.by_width(width)
    layer = cases.layer(inputs=40, width=width, features=16)
    lists = MarginLists(layer, kernels(), floor=threshold - SLACK)
    lists.query(torch.arange(40), threshold)
    assert lists.counters.active / 40 <= width**0.8
    assert lists.counters.candidates / (40 * width) == pytest.approx(expected_share(threshold - SLACK), rel=0.05)
    return lists.counters.candidates / 40


def test_candidates_grow_slower_than_the_width() -> None:
    narrow, wide = candidates(10_000), candidates(100_000)
    assert math.log10(wide / narrow) <= 0.85


@pytest.mark.slow
def test_candidates_of_a_million_neurons_grow_slower_than_the_width() -> None:
    counts = [candidates(10**power) for power in (4, 5, 6)]
    for fewer, more in itertools.pairwise(counts):
        assert math.log10(more / fewer) <= 0.85


def small(*, width: int = 400, threshold: float = 1.2) -> MarginLists:
    return MarginLists(cases.layer(inputs=25, width=width, features=6), kernels(), floor=threshold - SLACK)


def test_the_allowance_is_what_the_threshold_is_over_the_floor() -> None:
    assert small().allowance(1.2) == pytest.approx(SLACK)
    assert small().allowance(2.0) == pytest.approx(2.0 - 1.2 + SLACK)
    with pytest.raises(ValueError, match=r"lists of what is over 0\.95 cannot tell what is over 0\.9"):
        small().query(torch.tensor([0]), 0.9)


def test_a_long_path_that_led_back_is_only_measured() -> None:
    lists = small()
    layer = lists._layer
    layer.weights[7, 0] += 0.1
    layer.paths[7] = 0.3
    lists.update(torch.tensor([7], dtype=torch.int32), 1.2)
    assert layer.paths[7].item() == pytest.approx(0.1, rel=1e-3)
    assert lists.counters.refreshed == 0


def stray(lists: MarginLists, rows: Tensor) -> None:
    """Bring rows near the fourth input, and tell."""
    layer = lists._layer
    layer.weights[rows] += 2.0 * layer.inputs[3]
    layer.paths[rows] += 2.0
    lists.update(rows.int(), 1.2)


def test_stray_rows_are_tried_with_every_query_until_that_has_cost_a_refresh() -> None:
    lists, number, nobody = small(), torch.tensor([3]), torch.empty(0, dtype=torch.int32)
    layer = lists._layer
    lists.query(number, 1.2)
    before = lists.counters.candidates
    far = torch.nonzero(layer.weights @ layer.inputs[3] < 0.0)[:70, 0]
    stray(lists, far)
    cases.audit(lists.query(number, 1.2), layer.inputs[number], layer.weights, 1.2)
    assert lists.counters.candidates == 2 * before + 70
    assert layer.paths[far].isinf().all()
    lists.update(nobody, 1.2)
    assert lists.counters.flushes == 0
    lists.query(torch.arange(25), 1.2)
    lists.update(nobody, 1.2)
    assert (lists.counters.flushes, lists.counters.refreshed) == (1, 70)
    cases.audit(lists.query(torch.arange(25), 1.2), layer.inputs, layer.weights, 1.2)
    assert not layer.paths.any()
    layer.paths[far] = 0.3  # and back again: distances are taken from where they were refreshed
    lists.update(far.int(), 1.2)
    assert not layer.paths.any()


def test_few_stray_rows_are_left_as_they_are() -> None:
    lists = small()
    stray(lists, torch.arange(10))
    for _ in range(100):
        lists.query(torch.arange(25), 1.2)
        lists.update(torch.empty(0, dtype=torch.int32), 1.2)
    assert lists.counters.flushes == 0


def listed(lists: MarginLists) -> list[list[int]]:
    held = lists._lists
    return [entries[:length].tolist() for entries, length in zip(held.entries, held.lengths, strict=True)]


def test_refreshed_rows_are_added_and_what_has_gone_is_dropped_when_lists_have_grown() -> None:
    lists = small()
    layer, before = lists._layer, listed(lists)
    layer.weights[50:80] = torch.randn(30, 6, generator=cases.seeded(9))
    lists.update(torch.arange(50, 80, dtype=torch.int32), 1.2)
    lists.refresh()
    anew = listed(MarginLists(layer, kernels(), floor=1.2 - SLACK))
    gone = [[r for r in own if 50 <= r < 80] for own in before]
    assert listed(lists) == [sorted({*own, *there}) for own, there in zip(anew, gone, strict=True)]
    assert listed(lists) != anew
    layer.weights[80:300] = torch.randn(220, 6, generator=cases.seeded(10)) + layer.inputs[3]
    lists.update(torch.arange(80, 300, dtype=torch.int32), 1.2)
    lists.refresh()
    assert listed(lists) == listed(MarginLists(layer, kernels(), floor=1.2 - SLACK))


def test_lists_grow_where_more_rows_come_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optim.sparse.back_ends.margin_lists._TILE", 1000)
    lists = small()
    layer = lists._layer
    assert lists._lists.entries.shape[1] < 400
    layer.weights[:] = 3.0 * layer.inputs[3]
    lists.update(torch.arange(400, dtype=torch.int32), 1.2)
    lists.refresh()
    assert int(lists._lists.lengths[3]) == 400
    cases.audit(lists.query(torch.arange(25), 1.2), layer.inputs, layer.weights, 1.2)


@pytest.mark.parametrize("width", [300, 3_000, 20_000])
def test_a_preview_is_about_what_comes(width: int) -> None:
    layer = cases.layer(inputs=100, width=width, features=8)
    ahead, lists = preview(layer, 1.0), MarginLists(layer, kernels(), floor=1.0)
    assert ahead.shares.mean().item() == pytest.approx(lists._lists.lengths.double().mean().item() / width, rel=0.05)
    assert int(lists._lists.lengths.max()) <= ahead.room
    assert lists.bytes == ahead.bytes(layer)


def test_lists_get_the_room_that_was_foreseen() -> None:
    layer = cases.layer(inputs=100, width=20_000, features=8)
    ahead = preview(layer, 0.5)
    lists = MarginLists(layer, kernels(), floor=1.0, ahead=ahead)
    assert lists._lists.entries.shape[1] == ahead.columns > preview(layer, 1.0).columns
    assert listed(lists) == listed(MarginLists(layer, kernels(), floor=1.0))
