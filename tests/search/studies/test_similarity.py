"""How alike studies are, and their points in another space."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from search.definition.parse import parse_study
from search.definition.schema import StudyDefinition
from search.space.plan import draw_point
from search.space.validation import validate_point
from search.studies.similarity import carried, repeats, similarity
from tests.support.ledger import SPACES, definition

LR = {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"}


def _study(space: Any = SPACES["continuous"], **more: Any) -> StudyDefinition:
    return parse_study({**definition(), "space": space, **more})


def test_the_same_study_is_most_alike() -> None:
    new = _study()
    same = similarity(new, _study(), same_fingerprint=False)
    narrower = similarity(new, _study({**SPACES["continuous"], "lr": {**LR, "high": 0.01}}), same_fingerprint=False)
    fewer = similarity(new, _study({"lr": LR}), same_fingerprint=False)
    marked = similarity(new, _study({"lr": LR}), same_fingerprint=True)
    assert same is not None
    assert narrower is not None
    assert fewer is not None
    assert marked is not None
    assert marked > same > narrower > fewer
    assert (same[1], narrower[1], fewer[1]) == (1.0, 0.75, 0.5)


def test_what_says_nothing_is_not_alike() -> None:
    new = _study()
    assert similarity(new, _study({"beta1": {"type": "float", "low": 0.5, "high": 0.9}}), same_fingerprint=True) is None
    other = [{"name": "val_accuracy", "goal": "maximize"}]
    assert similarity(new, _study(metrics=other), same_fingerprint=True) is None
    high = {"lr": {**LR, "low": 2.0, "high": 9.0}}
    assert similarity(_study({"lr": LR}), _study(high), same_fingerprint=True) is None


def test_points_are_brought_in_filled_up_or_dropped() -> None:
    new = _study({"optimizer": {"type": "categorical", "choices": ["sgd", "adam"]}, "lr": {**LR, "high": 0.1}})
    points: list[tuple[int, dict[str, Any]]] = [
        (0, {"optimizer": "sgd", "lr": 0.5, "warmup": 0.1}),
        (1, {"optimizer": "lion", "lr": 0.01}),
        (2, {"optimizer": "sgd", "lr": 0.7}),
        (3, {"optimizer": "adam", "lr": 0.02}),
        (4, {"lr": 0.02}),
    ]
    found = list(carried(new, points, besides=[{"optimizer": "adam", "lr": 0.02}]))
    assert found == [(0, {"optimizer": "sgd", "lr": 0.1})]


@given(st.integers(0, 10_000))
def test_what_is_carried_over_is_valid(index: int) -> None:
    old = _study({"lr": LR, "optimizer": {"type": "categorical", "choices": ["sgd", "momentum"]},
                  "momentum": {"type": "float", "low": 0.5, "high": 0.9, "when": {"optimizer": ["momentum"]}}})  # fmt: skip
    new = _study({"lr": {**LR, "low": 1e-2}, "optimizer": {"type": "categorical", "choices": ["momentum", "sgd"]},
                  "momentum": {"type": "float", "low": 0.8, "high": 0.99, "when": {"optimizer": ["momentum"]}},
                  "batch_size": {"type": "int", "low": 8, "high": 64, "step": 8}})  # fmt: skip
    point = draw_point(old.space, seed=1, index=index)
    ((_, made),) = carried(new, [(0, point)], besides=[])
    assert validate_point(new.space, made) == []


def test_what_repeats_an_earlier_study() -> None:
    old = _study()
    assert repeats(_study(name="other", labels={"a": "b"}), old)
    assert repeats(_study(search={"strategy": "random"}), old)
    assert not repeats(_study(search={"strategy": "random", "seed": 8}), old)
    assert not repeats(_study(budget={"trials": 9}), old)
    assert not repeats(_study(verdict={"replicates": 3}, budget={"trials": 8}), old)
    assert not repeats(_study({"lr": LR}), old)


def test_what_had_less_time_repeats_nothing() -> None:
    def limited(**more: float) -> StudyDefinition:
        return _study(budget={"trials": 8, **more})

    for limit in ("seconds", "gpu_seconds"):
        short, long, free = limited(**{limit: 5.0}), limited(**{limit: 9.0}), limited()
        assert [repeats(short, old) for old in (short, long, free)] == [True, True, True]
        assert [repeats(long, old) for old in (short, long, free)] == [False, True, True]
        assert [repeats(free, old) for old in (short, long, free)] == [False, False, True]


def test_imported_trials_are_no_search() -> None:
    assert not repeats(_study(), _study(), imported=1)
    assert repeats(_study(budget={"trials": 7}), _study(), imported=1)
    grid = parse_study(definition("grid", space="discrete", trials=None))
    assert repeats(grid, grid, imported=1)
