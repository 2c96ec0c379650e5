import numpy as np
import pytest

from benchmarks.tables.packing import PRECISION, code_of, loss_of, pack, unpack, within


def test_losses_of_any_size_keep_their_precision() -> None:
    losses = np.geomspace(1e-20, 1e20, 4001)
    assert np.abs(loss_of(code_of(losses)) / losses - 1).max() <= PRECISION * 1.01


def test_a_loss_of_nothing_is_hardly_anything() -> None:
    assert 0 < loss_of(code_of(np.zeros(1)))[0] < 1e-20


@pytest.mark.parametrize("shape", [(5, 3, 27), (1, 1, 1), (4, 9)])
def test_codes_come_back(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(-32_000, 32_000, shape).astype(np.int16)  # changes that are larger than a code wrap around
    reached = rng.integers(0, shape[-1] + 1, shape[:-1])
    packed = pack(codes, reached)
    assert packed.shape == (2, shape[-1], *shape[:-1])
    held = within(reached, shape[-1])
    assert np.array_equal(unpack(packed)[held], codes[held])


def test_behind_what_was_reached_nothing_is_stored() -> None:
    codes = np.array([[100, 90, 7, -5]], np.int16)
    assert unpack(pack(codes, np.array([2]))).tolist() == [[100, 90, 90, 90]]
    assert unpack(pack(codes, np.array([0]))).tolist() == [[0, 0, 0, 0]]
