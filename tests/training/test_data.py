"""The data sets: shapes, the fixed stratified split, standardisation."""

import pytest
import torch

from training.data import DATA, load

SIZES = {
    "digits": (1797, 64, 10, (1, 8, 8)),
    "wine": (178, 13, 3, None),
    "breast_cancer": (569, 30, 2, None),
    "iris": (150, 4, 3, None),
}


def test_every_source_is_tested() -> None:
    assert set(SIZES) == set(DATA)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_shapes_and_split(name: str) -> None:
    count, features, classes, image = SIZES[name]
    data = load(name)
    assert data.train_inputs.dtype == data.val_inputs.dtype == torch.float32
    assert data.features == features
    assert data.classes == classes
    assert data.image == image
    assert len(data.train_targets) + len(data.val_targets) == count
    shares = [torch.bincount(part, minlength=classes) / len(part) for part in (data.train_targets, data.val_targets)]
    assert (shares[0] - shares[1]).abs().max() < 0.02  # stratified
    assert len(data.val_targets) == pytest.approx(0.2 * count, abs=1)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_standardised_with_training_statistics(name: str) -> None:
    inputs = load(name).train_inputs.double()
    together = SIZES[name][3] is not None
    deviation, mean = torch.std_mean(inputs, dim=None if together else 0, correction=0)
    assert mean.abs().max() < 1e-6
    assert (deviation - 1).abs().max() < 1e-5


def test_loaded_once_and_not_touched_by_the_trials_seed() -> None:
    torch.manual_seed(1)
    first = load("iris")
    load.cache_clear()
    torch.manual_seed(2)
    second = load("iris")
    assert torch.equal(first.val_inputs, second.val_inputs)
    assert load("iris") is second


def test_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="unknown data 'mnist'; valid: digits, wine, breast_cancer, iris"):
        load("mnist")
