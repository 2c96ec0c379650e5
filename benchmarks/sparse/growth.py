"""How the work of lists grows with the width: candidates for one query, and memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.sparse.contenders import problem
from benchmarks.sparse.steps import data
from optim.sparse.back_ends.margin_lists import MarginLists
from optim.sparse.back_ends.table import DEFAULT_SLACK
from optim.sparse.kernels.choice import kernels
from optim.sparse.kernels.interface import Layer


@dataclass(frozen=True, slots=True)
class Grown:
    """Of m neurons (`width`) how many were tried and how many fired for an input, and the bytes of all lists."""

    width: int
    candidates: float
    active: float
    bytes: int


def grown(width: int, features: int) -> Grown:
    """Build lists as shipped over random data, and ask for every input once."""
    given = problem(width, *data(features), lr=0.0)
    layer = Layer(given.weights, given.inputs, given.signs, torch.zeros(width))
    lists = MarginLists(layer, kernels(), floor=given.threshold - DEFAULT_SLACK)
    for numbers in torch.split(torch.arange(len(given.inputs)), 128):
        lists.query(numbers, given.threshold)
    counters = lists.counters
    return Grown(width, counters.candidates / counters.queries, counters.active / counters.queries, lists.bytes)


def exponent(found: Sequence[Grown]) -> float:
    """Return the a of candidates ~ m^a, by least squares of the logarithms."""
    widths, candidates = (
        [math.log(value) for value in each]
        for each in zip(*((own.width, own.candidates) for own in found), strict=True)
    )
    middle, level = math.fsum(widths) / len(widths), math.fsum(candidates) / len(candidates)
    across = math.fsum((x - middle) * (y - level) for x, y in zip(widths, candidates, strict=True))
    return across / math.fsum((x - middle) ** 2 for x in widths)
