"""All inner products."""

import torch

from optim.sparse.back_ends.dense import Dense
from optim.sparse.kernels.choice import kernels
from tests.optim.sparse import cases


def test_all_are_candidates_and_nothing_is_held() -> None:
    layer = cases.layer(inputs=30, width=300, features=6)
    dense = Dense(layer, kernels())
    cases.audit(dense.query(torch.arange(30), 1.0), layer.inputs, layer.weights, 1.0)
    assert dense.counters.candidates == 30 * 300
    assert dense.bytes == 0


def test_more_may_fire_than_was_guessed() -> None:
    layer = cases.layer(inputs=30, width=3000, features=6)
    dense = Dense(layer, kernels())
    for threshold in (5.0, -0.5, 2.0):
        cases.audit(dense.query(torch.arange(30), threshold), layer.inputs, layer.weights, threshold)
