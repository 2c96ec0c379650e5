"""Verdicts on recorded pairs: what they are drawn from, and that few equal ones are called improved."""

import math
import random
from statistics import fmean, pvariance

from benchmarks.tables.table import load, names
from benchmarks.verdict_tables import _pair, _points, recorded


def test_pairs_are_two_standard_errors_apart_and_in_order() -> None:
    points, draws = _points(load("wine_mlp")), random.Random(1)
    for _ in range(50):
        better, worse = _pair(points, 5, draws)
        error = math.sqrt((pvariance(better) + pvariance(worse)) / 5)
        assert fmean(worse) - fmean(better) >= 2 * error


def test_equals_are_seldom_called_improved_and_others_mostly() -> None:
    found = recorded(5, 400, confidence=0.95)
    assert [each.table for each in found] == list(names())
    assert max(each.equal for each in found) < 0.08
    assert min(each.apart for each in found) > 0.8
