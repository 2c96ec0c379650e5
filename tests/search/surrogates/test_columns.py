"""Points as rows of numbers: there and back, conditions, lattices."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from search.definition.parse import parse_study
from search.space.plan import plan
from search.space.validation import validate_point
from search.surrogates.columns import Columns

SPACE = {
    "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "adam"]},
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"},
    "momentum": {"type": "float", "low": 0.5, "high": 0.99, "scale": "reverse_log", "when": {"optimizer": ["momentum"]}},
    "batch_size": {"type": "categorical", "choices": [128, 16, 64, 32]},
    "layers": {"type": "int", "low": 1, "high": 5},
    "width": {"type": "int", "low": 8, "high": 4096, "scale": "log", "when": {"layers": [2, 3]}},
    "share": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25},
    "only": {"type": "int", "low": 3, "high": 3},
}  # fmt: skip


def columns(space: Mapping[str, Any] = SPACE) -> Columns:
    raw = {
        "name": "columns",
        "objective": {"external": True},
        "metrics": [{"name": "loss", "goal": "minimize"}],
        "space": space,
        "search": {"strategy": "random"},
        "budget": {"trials": 10},
    }
    return Columns(plan(parse_study(raw).space))


def test_what_is_drawn_is_a_point_of_the_space() -> None:
    made = columns()
    for row in made.draw(np.random.default_rng(1), 200):
        point = made.decode(row)
        assert validate_point(made.plan, point) == []


def test_a_row_is_found_again_from_its_point() -> None:
    made = columns()
    for row in made.draw(np.random.default_rng(2), 200):
        found = made.encode(made.decode(row))
        assert found is not None
        # Whole numbers on a log scale are rounded; all else is exact.
        np.testing.assert_allclose(found, row, atol=0.08)
        smooth = [index for index, each in enumerate(made.all) if each.name != "width"]
        np.testing.assert_allclose(found[smooth], row[smooth], atol=1e-12)


def test_a_parameter_with_one_value_has_no_column_and_its_value_in_the_point() -> None:
    made = columns()
    assert "only" not in made.place
    assert made.decode(made.draw(np.random.default_rng(3), 1)[0])["only"] == 3


def test_inactive_parameters_are_not_numbers() -> None:
    made = columns()
    rows = made.draw(np.random.default_rng(4), 300)
    momentum, optimizer = made.place["momentum"], made.place["optimizer"]
    assert (np.isnan(rows[:, momentum]) == (rows[:, optimizer] != 1)).all()
    layers, width = made.place["layers"], made.place["width"]
    deep = np.array([made.all[layers].decode(value) in {2, 3} for value in rows[:, layers]])
    assert (np.isnan(rows[:, width]) == ~deep).all()


def test_choices_that_are_numbers_lie_in_rising_order() -> None:
    made = columns()
    batch = made.all[made.place["batch_size"]]
    assert not batch.choice
    assert [batch.decode(place) for place in (0.0, 0.3, 0.6, 1.0)] == [16, 32, 64, 128]


@pytest.mark.parametrize(
    "params", [{"lr": 2.0}, {"optimizer": "lion"}, {"share": 0.3}, {"batch_size": 17}, {"layers": True}]
)
def test_values_outside_the_space_have_no_row(params: dict[str, Any]) -> None:
    assert columns().encode(params) is None
