"""Curvature times representation: each is what its definition says of the matrix by brute force."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim.precondition.algorithms import full
from optim.precondition.batch import SOURCES, Batch
from optim.precondition.layers import Seen
from optim.precondition.matrices.block import BLOCK
from optim.precondition.matrices.diagonal import DIAGONAL
from optim.precondition.matrices.kronecker import KRONECKER
from optim.precondition.matrices.tokens import TOKENS
from optim.precondition.matrices.unit_wise import UNIT_WISE
from tests.optim.precondition.looking import Brute, Everything, batch_of, order

EXAMPLES, SAMPLES = 6, 3
KEY = torch.tensor(5)
LOSSES = ("cross_entropy", "squared_error")
CLOSE: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-10}


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=False))


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def _example(loss: str, module: nn.Module, inputs: Tensor) -> tuple[Batch, Brute]:
    targets = torch.randint(3, (EXAMPLES,)) if loss == "cross_entropy" else torch.randn(EXAMPLES, 3)
    for param in module.parameters():
        nn.init.normal_(param)
    return batch_of(module, inputs, targets, loss), Brute(module, inputs, targets, loss)


def everything(loss: str) -> tuple[Batch, Brute]:
    return _example(loss, Everything(), torch.randint(5, (EXAMPLES, 4)))


def perceptron(loss: str) -> tuple[Batch, Brute]:
    return _example(loss, _perceptron(), torch.randn(EXAMPLES, 4))


def _seen(batch: Batch, source: str) -> list[Seen]:
    return batch.seen(source, key=KEY, samples=SAMPLES if source == "sampled" else 1)


def _orders(batch: Batch) -> list[Tensor]:
    return [order(layer, [param.shape for param in batch.params]) for layer in batch.layers]


def _cut(matrix: Tensor, places: Tensor) -> Tensor:
    return matrix[places.flatten()][:, places.flatten()]


def _blocks(batch: Batch, brute: Brute, source: str) -> Iterator[tuple[Seen, Tensor]]:
    """Yield what is seen of each layer with its block (U, k, U, k) of the matrix by brute force."""
    matrix = brute.fisher(source, KEY, SAMPLES)
    for seen, places in zip(_seen(batch, source), _orders(batch), strict=True):
        yield seen, _cut(matrix, places).reshape(*places.shape, *places.shape)


CASES = pytest.mark.parametrize(
    ("net", "loss", "source"),
    [(net, loss, source) for net in (everything, perceptron) for loss in LOSSES for source in SOURCES],
)
Net = Callable[[str], tuple[Batch, Brute]]


@CASES
def test_the_full_matrix(net: Net, loss: str, source: str) -> None:
    batch, brute = net(loss)
    (found,) = full.matrix(_seen(batch, source))
    places = torch.cat([own.flatten() for own in _orders(batch)])
    assert sorted(places.tolist()) == list(range(found.shape[-1]))  # every parameter, once
    torch.testing.assert_close(found, _cut(brute.fisher(source, KEY, SAMPLES), places), **CLOSE)


@CASES
def test_the_block_of_a_layer(net: Net, loss: str, source: str) -> None:
    for seen, wanted in _blocks(*net(loss), source):
        found = BLOCK.dense(BLOCK.estimate(seen))
        torch.testing.assert_close(found, wanted.flatten(2).flatten(0, 1), **CLOSE)


@CASES
def test_the_blocks_of_units(net: Net, loss: str, source: str) -> None:
    for seen, wanted in _blocks(*net(loss), source):
        (found,) = UNIT_WISE.estimate(seen)
        units = torch.stack([wanted[unit, :, unit, :] for unit in range(len(wanted))])
        torch.testing.assert_close(found, units, **CLOSE)
        apart = wanted * torch.eye(len(wanted))[:, None, :, None]
        torch.testing.assert_close(UNIT_WISE.dense([found]), apart.flatten(2).flatten(0, 1), **CLOSE)


@CASES
def test_the_diagonal(net: Net, loss: str, source: str) -> None:
    for seen, wanted in _blocks(*net(loss), source):
        found = DIAGONAL.dense(DIAGONAL.estimate(seen))
        torch.testing.assert_close(found, wanted.flatten(2).flatten(0, 1).diagonal().diag(), **CLOSE)


@CASES
def test_kronecker_factors(net: Net, loss: str, source: str) -> None:
    """A is the mean of outer products of inputs, B the sum of those of slopes, over positions, as they are defined."""
    batch, brute = net(loss)
    middle = brute.middle(source, KEY, SAMPLES)
    numbers = [id(param) for param in brute.module.parameters()]
    seen = {each.layer.places[0]: each for each in _seen(batch, source)}
    for child in brute.module.modules():
        if isinstance(child, nn.Linear | nn.Conv1d | nn.Embedding):
            own = seen[numbers.index(id(child.weight))]
            inputs, slopes = zip(*_parts(child, *brute.inside(child)), strict=True)
            wanted = [
                (torch.einsum("nti,ntj->ij", rows, rows) / rows.shape[1] / EXAMPLES for rows in inputs),
                (torch.einsum("nkto,nkl,nltp->op", steep, middle, steep) / EXAMPLES for steep in slopes),
            ]
            _check(own, [torch.stack(list(factors)) for factors in wanted])


def _check(seen: Seen, wanted: list[Tensor]) -> None:
    """Compare with the factors (G, d, d) and (G, o, o)."""
    if seen.layer.kind == "embedding":
        (inputs, slopes), (columns, rows) = TOKENS.estimate(seen), (each[0] for each in wanted)
        torch.testing.assert_close(inputs.diag(), columns, **CLOSE)
        torch.testing.assert_close(slopes, rows, **CLOSE)
        torch.testing.assert_close(TOKENS.dense((inputs, slopes)), torch.kron(columns, rows), **CLOSE)
        return
    found = KRONECKER.estimate(seen)
    for each, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(each, other, **CLOSE)
    blocks = [torch.kron(rows, columns) for columns, rows in zip(*wanted, strict=True)]
    torch.testing.assert_close(KRONECKER.dense(found), torch.stack(blocks), **CLOSE)


def _parts(child: nn.Module, inputs: Tensor, slopes: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return what goes into each matrix of a child at its positions, (n, t, d), and what comes back, (n, k, t, o)."""
    if isinstance(child, nn.Embedding):
        counted = inputs.ne(child.padding_idx or 0)
        places = F.one_hot(inputs, child.num_embeddings) * counted.unsqueeze(-1)
        return [(places.to(slopes), slopes * counted[:, None, :, None])]
    if isinstance(child, nn.Linear):
        return [(_with_ones(child, inputs.unsqueeze(1)), slopes.unsqueeze(2))]
    assert isinstance(child, nn.Conv1d)
    patches = F.unfold(inputs.unsqueeze(2), (1, child.kernel_size[0])).mT.chunk(child.groups, dim=-1)
    back = slopes.chunk(child.groups, dim=2)
    return [(_with_ones(child, rows), steep.mT) for rows, steep in zip(patches, back, strict=True)]


def _with_ones(child: nn.Linear | nn.Conv1d, rows: Tensor) -> Tensor:
    return rows if child.bias is None else torch.cat([rows, torch.ones_like(rows[..., :1])], dim=-1)


def _relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("loss", LOSSES)
def test_sampled_curvature_is_on_the_mean_the_exact_one(loss: str) -> None:
    batch, brute = perceptron(loss)
    exact = _cut(brute.fisher("exact", KEY, 1), torch.cat([own.flatten() for own in _orders(batch)]))
    errors = []
    for samples in (8, 800):
        (found,) = full.matrix(batch.seen("sampled", key=KEY, samples=samples))
        errors.append(_relative(found, exact))
    assert errors[1] < 0.05
    assert errors[1] < errors[0] / 3  # about 10 times fewer


@pytest.mark.parametrize("loss", LOSSES)
def test_keys_draw_samples_of_their_own(loss: str) -> None:
    batch, _ = perceptron(loss)
    one, same, other = (
        full.matrix(batch.seen("sampled", key=torch.tensor(key), samples=1))[0] for key in (1.0, 1.0, 2.0)
    )
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("source", SOURCES)
def test_padded_examples_count_for_nothing(source: str) -> None:
    module = _perceptron()
    inputs, targets = torch.randn(EXAMPLES, 4), torch.randint(3, (EXAMPLES,))
    more = torch.cat([inputs, torch.randn(2, 4)]), torch.cat([targets, torch.zeros(2, dtype=torch.int64)])
    weights = torch.cat([torch.full((EXAMPLES,), 1 / EXAMPLES), torch.zeros(2)])
    alone, padded = batch_of(module, inputs, targets), batch_of(module, *more, weights=weights)
    if source == "sampled":  # with as many numbers drawn, those of the first examples are the same
        assert padded.seen(source, key=KEY)[0].slopes.shape[1] == EXAMPLES + 2
    for each, other in zip(padded.seen(source, key=KEY), alone.seen(source, key=KEY), strict=True):
        for form in (BLOCK, UNIT_WISE, DIAGONAL, KRONECKER):
            for found, wanted in zip(form.estimate(each), form.estimate(other), strict=True):
                torch.testing.assert_close(found, wanted, **CLOSE)
