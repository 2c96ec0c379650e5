"""SENG with all there is equals the natural gradient layer by layer; what it leaves out is the least, and right on the mean."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from optim.precondition.algorithms.seng import seng
from optim.precondition.operations import gram
from optim.precondition.operations.gram import Examples
from optim.precondition.operations.sketch import low_rank, sketched
from tests.optim.precondition.cases import (
    Case,
    flat,
    grouped,
    mlp,
    normalised,
    options,
    positions,
    stacked_options,
    step,
    together,
    wide,
)


def _blocks(case: Case, damping: float) -> list[Tensor]:
    """Return the natural gradient of each layer by its own matrix, in the order of layers."""
    slopes, grads, found = case.slopes(), case.batch().gradients(), []
    for layer in case.batch().layers:
        own = flat([slopes[place] for place in layer.places], 1)
        fisher = own.mT @ (own * case.weights.unsqueeze(1))
        vector = flat([grads[place] for place in layer.places])
        found.append(torch.linalg.solve(fisher + damping * torch.eye(len(fisher), dtype=fisher.dtype), vector))
    return found


@pytest.mark.parametrize("make", [mlp, wide, positions, grouped, normalised], ids=lambda make: make.__name__)
def test_with_all_there_is_it_is_exact(make: Callable[[], Case]) -> None:
    case = make()
    found = step("seng", case, damping=1e-2, sketch=100, rank=100)
    for layer, wanted in zip(case.batch().layers, _blocks(case, 1e-2), strict=True):
        torch.testing.assert_close(flat([found[place] for place in layer.places]), wanted, rtol=1e-8, atol=1e-8)


def _examples(rows: int, columns: int, positions: int) -> Examples:
    random = torch.Generator().manual_seed(0)
    shapes = (2, 4, positions, columns), (2, 4, positions, rows)
    return Examples(*(torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes))


@pytest.mark.parametrize(("rows", "columns"), [(5, 9), (9, 5)])
def test_gradients_of_low_rank_are_the_nearest(rows: int, columns: int) -> None:
    given = _examples(rows, columns, 20)
    found = low_rank(given, 3)
    assert found.rows.shape[-2] == found.columns.shape[-2] == 3
    left, values, right = torch.linalg.svd(given.rows.mT @ given.columns)
    nearest = left[..., :3] @ torch.diag_embed(values[..., :3]) @ right[..., :3, :]
    torch.testing.assert_close(found.rows.mT @ found.columns, nearest, rtol=0, atol=1e-10)


def test_few_positions_and_small_matrices_are_left() -> None:
    few, small = _examples(5, 9, 3), _examples(2, 9, 20)
    assert low_rank(few, 3) is few
    assert low_rank(small, 3) is small


def test_a_sketch_is_right_on_the_mean() -> None:
    given, count = _examples(7, 9, 2), 3000
    matrix = torch.randn(2, 7, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    totals = torch.zeros(4, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for key in range(count):
        fewer, sampled = sketched(given, matrix, 4, torch.tensor(key), 0)
        assert fewer.rows.shape[-1] == fewer.columns.shape[-1] == 4
        totals[0].add_(gram.gram(fewer) / count)
        totals[1].add_(gram.products(fewer, sampled) / count)
    wanted = gram.gram(given)
    scale = wanted.diagonal().mean()
    assert (totals[0] - wanted).abs().max() < 0.1 * scale
    assert (totals[1] - gram.products(given, matrix)).abs().max() < 0.1 * scale


@pytest.mark.parametrize("seed", range(10))
def test_a_sketch_changes_the_step_and_leaves_it_one_of_descent(seed: int) -> None:
    case = wide(seed)
    grads = flat(case.batch().gradients())
    whole, fewer = (flat(step("seng", case, damping=0.1, sketch=size)) for size in (100, 8))
    assert not torch.equal(whole, fewer)
    assert whole @ grads > 0
    assert fewer @ grads > 0


def test_members_may_differ_in_sketch_and_rank() -> None:
    sizes = [{"sketch": 8, "rank": 2}, {"sketch": 100, "rank": 2}, {"sketch": 8, "rank": 2}, {"sketch": 5, "rank": 30}]
    cases = [grouped(seed) for seed in range(len(sizes))]
    batch, params = (
        together(cases, "seng"),
        [torch.stack(each) for each in zip(*(c.params for c in cases), strict=True)],
    )
    link = seng(cases[0].batch().layers)
    hyper = stacked_options([options("seng", **size) for size in sizes])
    start = link.init(cases[0].params)
    state = type(start)(*(each.expand(len(sizes)) for each in start))
    found, _ = link.step(batch.gradients(), state, params, hyper, batch)
    for place, (case, size) in enumerate(zip(cases, sizes, strict=True)):
        for new, alone in zip(found, step("seng", case, **size), strict=True):
            torch.testing.assert_close(new[place], alone, rtol=0, atol=1e-10)
