"""Random numbers by their key."""

import pytest
import torch
from scipy import stats

from optim.precondition.draws import _finalised, _mixed, _signed, normal, signs, uniform


def test_they_are_uniform_and_independent_of_each_other() -> None:
    found = uniform(torch.arange(100), 1000)
    assert found.min() > 0
    assert found.max() < 1
    assert stats.kstest(found.flatten().numpy(), "uniform").pvalue > 0.01
    neighbours = torch.corrcoef(torch.stack([found[:, :-1].flatten(), found[:, 1:].flatten()]))[0, 1]
    keys = torch.corrcoef(torch.stack([found[:-1].flatten(), found[1:].flatten()]))[0, 1]
    assert abs(neighbours) < 0.02
    assert abs(keys) < 0.02


def test_the_first_are_the_same_however_many_follow_and_whoever_is_beside() -> None:
    assert torch.equal(uniform(torch.tensor(7), 100)[:10], uniform(torch.tensor(7), 10))
    assert torch.equal(uniform(torch.tensor([3, 7]), 10)[1], uniform(torch.tensor(7), 10))


def test_key_and_salt_tell_them_apart() -> None:
    one = uniform(torch.tensor(7), 50)
    assert not torch.equal(one, uniform(torch.tensor(8), 50))
    assert not torch.equal(one, uniform(torch.tensor(7), 50, salt=1))


@pytest.mark.parametrize("salt", [2, 7, 1000, 2**40])
def test_any_salt_will_do(salt: int) -> None:
    found = uniform(torch.tensor([0.0, 3.0, 1e9]), 1000, salt=salt)
    assert found.min() > 0
    assert found.max() < 1
    assert not torch.isin(found, uniform(torch.tensor([0.0, 3.0, 1e9]), 1000, salt=salt + 1)).any()


def test_signs_are_even() -> None:
    found = signs(torch.tensor(1), 10_000)
    assert set(found.tolist()) == {-1.0, 1.0}
    assert abs(found.mean()) < 0.05


def test_normal_numbers_are_and_begin_alike() -> None:
    found = normal(torch.arange(100), 1000, salt=3)
    assert stats.kstest(found.flatten().numpy(), "norm").pvalue > 0.01
    assert abs(torch.corrcoef(torch.stack([found[:, :-1].flatten(), found[:, 1:].flatten()]))[0, 1]) < 0.02
    assert torch.equal(normal(torch.tensor(7), 10, salt=3), found[7, :10])


def test_one_number_is_mixed_as_many_are() -> None:
    numbers = [0, 1, 7, 2**31, 2**63 - 1, 2**63, 2**64 - 1]
    found = _mixed(torch.tensor([_signed(number) for number in numbers]))
    assert found.tolist() == [_signed(_finalised(number)) for number in numbers]
