"""Compiled loops against operations of torch, and several threads against one.

All numbers are small multiples of powers of two: products and sums are exact in any order, so answers are equal to the bit,
those of inner products that lie on the threshold too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from optim.sparse.active import Active
from optim.sparse.kernels import compiled, threaded
from optim.sparse.kernels.choice import kernels
from optim.sparse.kernels.interface import Kernels, Layer, Lists
from optim.sparse.kernels.plain import PlainKernels, sampled
from tests.optim.sparse import cases

PLAIN = PlainKernels()
COMPILED = [threaded.CompiledKernels(1), threaded.CompiledKernels(3)]
ALL: list[Kernels] = [PLAIN, *COMPILED]


@pytest.fixture(autouse=True, scope="module")
def threads_for_little_work() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threaded, "_WORTH", 1)
        yield


def whole(generator: Generator, *shape: int, most: int = 3) -> Tensor:
    return torch.randint(-most, most + 1, shape, generator=generator).float()


@dataclass(frozen=True)
class Drawn:
    """A layer of whole numbers, a batch without order and with repetitions, lists of anybody, and extra neurons."""

    generator: Generator
    layer: Layer
    numbers: Tensor
    lists: Lists
    extra: Tensor

    def active(self) -> Active:
        """Return anybody as active, at whatever height."""
        rows, neurons = torch.nonzero(torch.rand(len(self.numbers), self.width, generator=self.generator) < 0.4).T
        return Active.padded(rows, neurons, whole(self.generator, len(rows)), len(self.numbers))

    @property
    def width(self) -> int:
        return len(self.layer.weights)


@st.composite
def drawings(draw: st.DrawFn) -> Drawn:
    def size(most: int) -> int:
        return draw(st.integers(1, most))

    generator = cases.seeded(draw(st.integers(0, 2**31)))
    n, width, features, outputs = size(9), size(23), size(6), size(4)
    layer = Layer(
        whole(generator, width, features), whole(generator, n, features), whole(generator, width, outputs, most=1),
        whole(generator, width).abs(),
    )  # fmt: skip
    numbers = torch.randint(0, n, (size(12),), generator=generator)
    extra = torch.nonzero(torch.rand(width, generator=generator) < draw(st.sampled_from([0.0, 0.3])))[:, 0].int()
    return Drawn(generator, layer, numbers, listing(generator, n, width, draw(st.sampled_from([0.0, 0.5, 1.0]))), extra)


def listing(generator: Generator, n: int, width: int, share: float) -> Lists:
    rows, neurons = torch.nonzero(torch.rand(n, width, generator=generator) < share).T
    active = Active.padded(rows, neurons, torch.zeros(len(rows)), n)
    room = torch.full((n, width + 40), -7, dtype=torch.int32)
    room[:, : active.neurons.shape[1]] = active.neurons
    return Lists(room, active.counts)


def equal(one: Active, other: Active) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.pairs(), other.pairs(), strict=True))


def copied(active: Active) -> Active:
    return Active(active.neurons.clone(), active.heights.clone(), active.counts.clone())


def listed(lists: Lists) -> list[list[int]]:
    return [row[:length].tolist() for row, length in zip(lists.entries, lists.lengths.tolist(), strict=True)]


def scan(loops: Kernels, products: Tensor, threshold: float, tile: int = 100) -> Active:
    """Scan a tile of products at a time."""
    active = Active.room(len(products), 1)
    for begin in range(0, products.shape[1], tile):
        own = products[:, begin : begin + tile].contiguous()
        active = active.grown(own.shape[1], spare=1.0)
        loops.scan(active, own, begin, threshold)
    return active


def agree(call: Callable[[Kernels], list[Tensor]]) -> None:
    """Assert that plain loops and compiled ones with one thread and several give the same."""
    plain = call(PLAIN)
    for loops in COMPILED:
        for ours, theirs in zip(plain, call(loops), strict=True):
            assert torch.equal(ours, theirs)


@given(case=drawings(), threshold=st.integers(-2, 6))
def test_fire(case: Drawn, threshold: int) -> None:
    def call(loops: Kernels) -> list[Tensor]:
        active, tried = loops.fire(case.layer, case.numbers, case.lists, case.extra, threshold)
        return [*active.pairs(), active.counts, torch.tensor(tried)]

    agree(call)
    rows, neurons, heights, _, tried = call(COMPILED[0])
    wanted = [set(own) | set(case.extra.tolist()) for own in listed(case.lists)]
    products = case.layer.inputs @ case.layer.weights.T
    expected = [
        (row, neuron, products[number, neuron].item())
        for row, number in enumerate(case.numbers.tolist())
        for neuron in sorted(wanted[number])
        if products[number, neuron] > threshold
    ]
    assert list(zip(rows.tolist(), neurons.tolist(), heights.tolist(), strict=True)) == expected
    assert tried == sum(len(wanted[number]) for number in case.numbers.tolist())


@given(case=drawings(), threshold=st.integers(-2, 6), tile=st.integers(1, 30))
def test_scan(case: Drawn, threshold: int, tile: int) -> None:
    products = case.layer.inputs[case.numbers] @ case.layer.weights.T
    agree(lambda loops: list(scan(loops, products, threshold, tile).pairs()))
    found = scan(COMPILED[0], products, threshold, tile)
    assert torch.equal(cases.mask(found, case.width), products > threshold)


@given(case=drawings(), most=st.integers(1, 9))
def test_strongest(case: Drawn, most: int) -> None:
    active = case.active()
    agree(lambda loops: list(loops.strongest(copied(active), most).pairs()))
    kept = COMPILED[0].strongest(copied(active), most)
    for example in range(len(active.counts)):
        expected = sorted(active.row(example)[1].tolist(), reverse=True)[:most]
        assert sorted(kept.row(example)[1].tolist(), reverse=True) == expected


@given(case=drawings(), threshold=st.integers(-4, -3), squared=st.booleans())
def test_speak(case: Drawn, threshold: int, squared: bool) -> None:
    active = case.active()
    agree(lambda loops: [loops.speak(case.layer, active, threshold, squared=squared)])
    above = torch.zeros(len(active.counts), case.width, dtype=torch.float64)
    rows, neurons, heights = active.pairs()
    above[rows, neurons] = (heights - threshold).double()
    expected = (above.square() if squared else above) @ case.layer.signs.double()
    assert torch.equal(COMPILED[0].speak(case.layer, active, threshold, squared=squared), expected)


@given(case=drawings(), squared=st.booleans(), allowance=st.sampled_from([0.0, 2.0, torch.inf]))
def test_move(case: Drawn, squared: bool, allowance: float) -> None:
    active, layer = case.active(), case.layer
    pulls = whole(case.generator, len(case.numbers), layer.signs.shape[1]) / 4

    def call(loops: Kernels) -> list[Tensor]:
        own = Layer(layer.weights.clone(), layer.inputs, layer.signs, layer.paths.clone())
        beyond = loops.move(own, case.numbers, active, pulls, -1.0, squared=squared, allowance=allowance)
        return [own.weights, own.paths, beyond.sort().values]

    agree(call)
    weights, paths, beyond = call(COMPILED[0])
    moved = torch.zeros(len(active.counts), case.width)
    rows, neurons, heights = active.pairs()
    moved[rows, neurons] = (2 * (heights + 1.0) if squared else 1.0) * (pulls @ layer.signs.T)[rows, neurons]
    assert torch.equal(weights, layer.weights - moved.T @ layer.inputs[case.numbers])
    assert torch.equal(paths, layer.paths + moved.abs().sum(0))
    assert torch.equal(beyond, torch.nonzero((layer.paths <= allowance) & (paths > allowance))[:, 0].int())


@given(case=drawings(), floor=st.integers(-2, 4), fresh=st.integers(1, 9))
def test_collect(case: Drawn, floor: int, fresh: int) -> None:
    products = whole(case.generator, len(case.layer.inputs), fresh, most=5)

    def call(loops: Kernels) -> Lists:
        lists = Lists(case.lists.entries.clone(), case.lists.lengths.clone())
        loops.collect(lists, products, case.width, floor)
        return lists

    expected = [
        own + [case.width + t for t in range(fresh) if products[number, t] > floor]
        for number, own in enumerate(listed(case.lists))
    ]
    for loops in ALL:
        assert listed(call(loops)) == expected


@given(case=drawings(), floor=st.integers(-2, 4), share=st.sampled_from([0.1, 0.9]))
def test_insert(case: Drawn, floor: int, share: float) -> None:
    fresh = torch.nonzero(torch.rand(case.width, generator=case.generator) < share)[:, 0].int()
    products = whole(case.generator, len(case.layer.inputs), len(fresh), most=5)

    def call(loops: Kernels) -> Lists:
        lists = Lists(case.lists.entries.clone(), case.lists.lengths.clone())
        loops.insert(lists, products, fresh, floor)
        return lists

    expected = [
        sorted({*own} | {*fresh[products[number] > floor].tolist()}) for number, own in enumerate(listed(case.lists))
    ]
    for loops in ALL:
        assert listed(call(loops)) == expected


@given(case=drawings(), reach=st.integers(1, 6))
def test_settle(case: Drawn, reach: int) -> None:
    snapshot = case.layer.weights + whole(case.generator, *case.layer.weights.shape, most=2)
    snapshot[0] = torch.inf  # a row that was added is far from anywhere
    beyond = torch.arange(0, case.width, 2, dtype=torch.int32)
    distances = (case.layer.weights - snapshot).norm(dim=1)

    for loops in ALL:
        layer = replace(case.layer, paths=torch.ones(case.width))
        strays = loops.settle(layer, snapshot, beyond, reach + 0.5)
        far = distances[beyond.long()] >= reach + 0.5
        assert torch.equal(strays, beyond[far])
        expected = distances[::2].masked_fill(far, torch.inf)
        torch.testing.assert_close(layer.paths[::2], expected, rtol=2e-4, atol=0)
        assert (layer.paths[::2] >= expected).all()
        assert (layer.paths[1::2] == 1).all()


def test_a_product_is_the_same_number_wherever_it_stands() -> None:
    layer = cases.layer(inputs=1, width=203, features=37)
    numbers, nobody = torch.tensor([0]), torch.empty(0, dtype=torch.int32)
    everybody = Lists(torch.arange(203, dtype=torch.int32).unsqueeze(0), torch.tensor([203]))
    all_heights = COMPILED[0].fire(layer, numbers, everybody, nobody, -100.0)[0].heights[0]
    for begin in range(1, 9):
        lists = Lists(everybody.entries[:, begin:].contiguous(), everybody.lengths - begin)
        assert torch.equal(COMPILED[0].fire(layer, numbers, lists, nobody, -100.0)[0].heights[0], all_heights[begin:])


@pytest.mark.parametrize("loops", ALL)
def test_what_is_no_number_is_over_everything(loops: Kernels) -> None:
    layer = cases.layer(inputs=2, width=9, features=3)
    layer.weights[4] = torch.nan
    numbers, lists = torch.arange(2), Lists(torch.empty(2, 9, dtype=torch.int32), torch.zeros(2, dtype=torch.int64))
    products = layer.inputs @ layer.weights.T
    loops.collect(lists, products, 0, 100.0)
    assert listed(lists) == [[4], [4]]
    loops.insert(lists, products[:, 3:6].contiguous(), torch.tensor([3, 4, 5], dtype=torch.int32), 100.0)
    assert listed(lists) == [[4], [4]]
    for active in (
        loops.fire(layer, numbers, lists, torch.tensor([8], dtype=torch.int32), 100.0)[0],
        scan(loops, products, 100.0),
        loops.strongest(scan(loops, products, -100.0), 2),
    ):
        assert active.counts.tolist() in ([1, 1], [2, 2])
        assert cases.mask(active, 9)[:, 4].all()
        assert loops.speak(layer, active, 0.0, squared=False).isnan().all()
    pulls = torch.full((2, 1), torch.nan)
    active = scan(loops, products, -100.0)
    beyond = loops.move(layer, numbers, active, pulls, 0.0, squared=False, allowance=1.0)
    assert beyond.sort().values.tolist() == list(range(9))
    assert len(loops.settle(layer, torch.zeros(9, 3), beyond, 1.0)) == 9


def test_pairs_are_sampled_from_products() -> None:
    layer = cases.layer(inputs=7, width=30, features=5)
    rows, neurons = torch.nonzero(torch.rand(7, 30, generator=cases.seeded(0)) < 0.3).T
    heights = sampled(layer.inputs, layer.weights, rows, neurons)
    torch.testing.assert_close(heights, (layer.inputs @ layer.weights.T)[rows, neurons])


def test_compiled_loops_are_chosen_where_they_are() -> None:
    assert isinstance(kernels(threads=2), threaded.CompiledKernels)


def test_rows_that_no_cache_holds_are_worked_on_tile_by_tile_to_the_same_end() -> None:
    layer = cases.layer(inputs=64, width=compiled.LARGE // 64 + 1000, features=64)
    assert layer.weights.numel() >= compiled.LARGE
    numbers, extra = torch.arange(64).flip(0), torch.arange(0, 5000, 7, dtype=torch.int32)
    threshold = cases.by_width(len(layer.weights))
    lists = Lists(torch.empty(64, 20_000, dtype=torch.int32), torch.zeros(64, dtype=torch.int64))
    PLAIN.collect(lists, layer.inputs @ layer.weights.T, 0, threshold - 0.1)
    answers, moved = [], []
    for loops in ALL:
        own = replace(layer, weights=layer.weights.clone(), paths=layer.paths.clone())
        active, tried = loops.fire(own, numbers, lists, extra, threshold)
        assert tried == int(lists.lengths.sum()) + sum(len({*extra.tolist()} - {*each}) for each in listed(lists))
        pulls = torch.linspace(-1.0, 1.0, 64).unsqueeze(1)
        beyond = loops.move(own, numbers, active, pulls, threshold, squared=False, allowance=0.5)
        answers.append(active)
        moved.append((own.weights, own.paths, beyond.sort().values))
    cases.audit(answers[1], layer.inputs[numbers], layer.weights, threshold)
    for active, state in zip(answers, moved, strict=True):
        assert torch.equal(active.counts, answers[1].counts)
        torch.testing.assert_close(state, moved[1])
