"""The bundled data: shapes, the fixed stratified split, standardisation."""

import pytest
import torch

from tests.training.whole import whole
from training.data.bundled import DATA, load
from training.tasks import CLASSIFICATION, REGRESSION

SIZES = {
    "digits": (1797, 64, 10, (1, 8, 8)),
    "wine": (178, 13, 3, None),
    "breast_cancer": (569, 30, 2, None),
    "iris": (150, 4, 3, None),
    "digits_parity": (1797, 64, 2, (1, 8, 8)),
}
TOKENS = {"digits_tokens": (64, 10), "docstrings": (48, 8), "imports": (25, 2)}


def test_every_source_is_tested() -> None:
    assert {*SIZES, *TOKENS, "diabetes", "even_quadratic", "even_quadratic_clustered"} == set(DATA)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_shapes_and_split(name: str) -> None:
    count, features, classes, image = SIZES[name]
    data = load(name)
    (train_inputs, train), (val_inputs, val) = whole(data.train), whole(data.val)
    assert train_inputs.dtype == val_inputs.dtype == torch.float32
    assert (data.name, data.task) == (name, CLASSIFICATION)
    assert data.features == features
    assert data.outputs == classes
    assert data.image == image
    assert len(train) + len(val) == count
    shares = [torch.bincount(part, minlength=classes) / len(part) for part in (train, val)]
    assert (shares[0] - shares[1]).abs().max() < 0.02  # stratified
    assert len(val) == pytest.approx(0.2 * count, abs=1)


@pytest.mark.parametrize("name", [*sorted(SIZES), "diabetes"])
def test_standardised_with_training_statistics(name: str) -> None:
    inputs = whole(load(name).train)[0].double()
    together = name in SIZES and SIZES[name][3] is not None
    deviation, mean = torch.std_mean(inputs, dim=None if together else 0, correction=0)
    assert mean.abs().max() < 1e-6
    assert (deviation - 1).abs().max() < 1e-5


def test_diabetes_is_counted_in_deviations() -> None:
    data = load("diabetes")
    _, targets = whole(data.train)
    assert (data.task, data.outputs, data.features) == (REGRESSION, 1, 10)
    assert targets.dtype == torch.float32
    deviation, mean = torch.std_mean(targets.double(), correction=0)
    assert abs(mean.item()) < 1e-6
    assert deviation.item() == pytest.approx(1, abs=1e-5)
    assert len(data.train) + len(data.val) == 442


@pytest.mark.parametrize("name", sorted(TOKENS))
def test_tokens(name: str) -> None:
    data = load(name)
    (train_inputs, train), (val_inputs, val) = whole(data.train), whole(data.val)
    length, classes = TOKENS[name]
    assert data.shape == (length,)
    assert data.outputs == classes
    assert data.vocabulary is not None
    for inputs, targets in ((train_inputs, train), (val_inputs, val)):
        assert inputs.dtype == targets.dtype == torch.int64
        assert inputs.shape == (len(targets), length)
        assert 0 <= inputs.min() <= inputs.max() < data.vocabulary
        assert (inputs != 0).any(dim=1).all()  # nothing is all padding
        assert set(targets.tolist()) == set(range(classes))
    assert 0.1 < len(val) / (len(train) + len(val)) < 0.3


def test_digits_tokens_are_the_digits() -> None:
    """One and the same split, pixel for pixel: standardised intensities are a line through the tokens."""
    pictures, tokens = whole(load("digits").val), whole(load("digits_tokens").val)
    assert torch.equal(pictures[1], tokens[1])
    low, high = pictures[0].min(), pictures[0].max()
    assert torch.allclose((pictures[0] - low) / (high - low) * 16 + 1, tokens[0].float(), atol=1e-3)


def test_docstrings_are_many_and_balanced_enough() -> None:
    data = load("docstrings")
    _, targets = whole(data.train)
    counts = torch.bincount(targets, minlength=8)
    assert len(targets) > 1500
    assert counts.max() < 6 * counts.min()


def test_no_text_is_in_both_parts() -> None:
    """Two texts may have the same tokens, yet hardly any do: copies were dropped."""
    data = load("docstrings")
    train, val = ({tuple(row) for row in whole(part)[0].tolist()} for part in (data.train, data.val))
    assert len(train & val) < 0.02 * len(val)


def test_imports_come_in_pairs_that_differ_in_the_candidate_alone() -> None:
    data = load("imports")
    for part in (data.train, data.val):
        inputs, targets = whole(part)
        assert targets.tolist() == [1, 0] * (len(targets) // 2)
        assert torch.equal(inputs[::2, 1:], inputs[1::2, 1:])
        assert (inputs[::2, 0] != inputs[1::2, 0]).all()
        assert (inputs[:, 0] != 0).all()
        assert not (inputs[:, :1] == inputs[:, 1:]).any()  # a candidate is not in its own bag


def test_loaded_once_and_not_touched_by_the_trials_seed() -> None:
    for name in ("iris", "imports"):
        torch.manual_seed(1)
        first = load(name)
        load.cache_clear()
        torch.manual_seed(2)
        second = load(name)
        for one, other in zip(whole(first.val), whole(second.val), strict=True):
            assert torch.equal(one, other)
        assert load(name) is second


def test_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="unknown data 'mnist'; valid: digits, wine, breast_cancer, iris"):
        load("mnist")
