import math
from typing import Any

import pytest

from benchmarks.tables.lattice import Lattice

SPACE: dict[str, dict[str, Any]] = {
    "batch_size": {"type": "categorical", "choices": [16, 32]},
    "optimizer": {"type": "categorical", "choices": ["sgd", "momentum"]},
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "levels": [1e-4, 1e-2, 1.0]},
    "warmup": {"type": "float", "low": 0.0, "high": 0.2, "levels": [0.0, 0.2]},
    "momentum": {
        "type": "float",
        "low": 0.5,
        "high": 0.99,
        "scale": "reverse_log",
        "levels": [0.5, 0.9, 0.99],
        "when": {"optimizer": ["momentum"]},
    },
}
LATTICE = Lattice.of(SPACE)
MIDDLE = {"batch_size": 32, "optimizer": "momentum", "lr": 0.01, "warmup": 0.0, "momentum": 0.9}


def test_a_parameter_has_levels_only_where_its_condition_holds() -> None:
    assert len(LATTICE.points) == 2 * (3 * 2 + 3 * 2 * 3)
    assert all(("momentum" in point) == (point["optimizer"] == "momentum") for point in LATTICE.points)
    assert len({tuple(point.items()) for point in LATTICE.points}) == len(LATTICE.points)


def test_recorded_points_are_their_own_nearest() -> None:
    assert [LATTICE.row(point) for point in LATTICE.points] == list(range(len(LATTICE.points)))


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("lr", 0.0011, 0.01),  # nearer to 1e-2 by its logarithm, though not by its value
        ("lr", 0.00099, 1e-4),
        ("lr", 1e-9, 1e-4),
        ("warmup", 0.11, 0.2),
        ("warmup", 0.09, 0.0),
        ("momentum", 0.97, 0.99),  # a rest of 0.03 is nearer to one of 0.01 than of 0.1
        ("momentum", 0.967, 0.9),
        ("momentum", 0.78, 0.9),
    ],
)
def test_the_nearest_level_is_nearest_on_the_parameters_scale(name: str, value: float, level: float) -> None:
    assert LATTICE.nearest(MIDDLE | {name: value}) == MIDDLE | {name: level}


def test_order_and_parameters_of_others_do_not_matter() -> None:
    given = {"warmup": 0.2, "weight_decay": 0.1, "momentum": 0.99, "lr": 1, "optimizer": "sgd", "batch_size": 16}
    assert LATTICE.nearest(given) == {"batch_size": 16, "optimizer": "sgd", "lr": 1.0, "warmup": 0.2}


def test_what_cannot_be_placed_is_refused() -> None:
    with pytest.raises(ValueError, match="optimizer: 'lion' was not recorded; valid: sgd, momentum"):
        LATTICE.row(MIDDLE | {"optimizer": "lion"})
    with pytest.raises(ValueError, match="momentum is missing"):
        LATTICE.row({name: value for name, value in MIDDLE.items() if name != "momentum"})


def test_scales_are_those_of_the_space() -> None:
    axes = {axis.name: axis for axis in LATTICE.axes}
    assert axes["lr"].place is not None
    assert axes["lr"].place(0.01) == math.log(0.01)
    assert axes["momentum"].place is not None
    assert axes["momentum"].place(0.9) == pytest.approx(math.log(0.1))
    assert axes["optimizer"].place is None
