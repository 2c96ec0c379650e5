"""Examples that are made of others: some of them, and those with their features renamed."""

import torch
from torch import Generator

from tests.training.whole import whole
from training.data.bundled import load
from training.posthoc.views import APART_SHARE, renamed, set_apart


def test_what_is_set_apart_is_not_trained_on() -> None:
    data = load("wine")
    parts = set_apart(data, Generator().manual_seed(1))
    assert len(parts.val) == round(APART_SHARE * len(data.train))
    rows = [tuple(row) for part in (parts.train, parts.val) for row in whole(part)[0].tolist()]
    assert sorted(rows) == sorted(tuple(row) for row in whole(data.train)[0].tolist())


def test_some_are_taken_by_number_as_in_blocks() -> None:
    part = set_apart(load("iris"), Generator().manual_seed(1)).train
    inputs, targets = whole(part)
    for block in (7, len(part)):
        pieces = list(part.blocks(block))
        assert torch.equal(torch.cat([each[0] for each in pieces]), inputs)
    numbers = torch.tensor([5, 0, 5])
    assert torch.equal(part.rows(numbers)[0], inputs[numbers])
    assert torch.equal(part.rows(numbers)[1], targets[numbers])


def test_features_change_places_alike_everywhere() -> None:
    data = load("digits")
    other = renamed(data, Generator().manual_seed(2))
    order = torch.randperm(64, generator=Generator().manual_seed(2))
    for mine, its in ((data.train, other.train), (data.val, other.val)):
        inputs, targets = whole(its)
        assert torch.equal(inputs, whole(mine)[0][:, order])
        assert torch.equal(targets, whole(mine)[1])
        assert torch.equal(its.rows(torch.tensor([3]))[0], inputs[3:4])
        assert torch.equal(torch.cat([block for block, _ in its.blocks(100)]), inputs)


def test_tokens_change_names_and_padding_stays() -> None:
    data = load("docstrings")
    before, after = whole(data.val)[0], whole(renamed(data, Generator().manual_seed(2)).val)[0]
    assert torch.equal(before == 0, after == 0)
    assert not torch.equal(before, after)
    pairs = set(zip(before.flatten().tolist(), after.flatten().tolist(), strict=True))
    assert len(pairs) == len(set(before.flatten().tolist())) == len(set(after.flatten().tolist()))
