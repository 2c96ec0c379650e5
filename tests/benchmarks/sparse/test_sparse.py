"""The benchmark of sparse training: all contenders take the same steps, and its figures are what they are said to be."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.sparse.__main__ import cases, growth_rows, places, promises, run_rows, step_rows
from benchmarks.sparse.contenders import DENSE_FORMS, WAYS, Problem, problem, stepped, trainer
from benchmarks.sparse.growth import Grown, exponent, grown
from benchmarks.sparse.runs import DIGITS, LOSING, Case, Trained, trained
from benchmarks.sparse.steps import Place, Timed, apart, best_dense, data, in_turn, timed

THREADS = [1, 2]


@pytest.fixture(scope="module")
def given() -> Problem:
    return problem(400, *data(12), lr=30.0)


def after(given: Problem, name: str, batches: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return what a contender makes of these batches: losses, and weights."""
    own = given.copied
    step = DENSE_FORMS[name](own) if name in DENSE_FORMS else stepped(own, trainer(own, name, steps=99, threads=1))
    return [step(numbers) for numbers in batches], own.weights


@pytest.mark.parametrize("name", [*WAYS, "by hand", "sparse backward"])
def test_everybody_takes_the_steps_of_autograd(given: Problem, name: str) -> None:
    batches = list(torch.split(torch.arange(96), 12))
    losses, weights = after(given, name, batches)
    wanted, moved = after(given, "autograd", batches)
    assert apart({"wanted": wanted, name: losses}) < 1e-4
    torch.testing.assert_close(weights, moved, rtol=0.0, atol=1e-4)
    assert (moved - given.weights).abs().max() > 0.01


def test_losses_are_apart_where_one_takes_another_step(given: Problem) -> None:
    batches = list(torch.split(torch.arange(96), 12))
    wanted, other = after(given, "by hand", batches)[0], after(replace(given, lr=31.0), "by hand", batches)[0]
    assert apart({"wanted": wanted, "other": other}) > 1e-4


@pytest.mark.parametrize("threads", THREADS)
def test_steps_are_timed_and_agree(threads: int) -> None:
    found = timed(Place(features=8, width=300, batch=4, threads=threads), rounds=2)
    assert set(found.times) == {*WAYS, *DENSE_FORMS, "fused"}
    assert min(found.times.values()) > 0.0
    assert found.apart < 1e-4
    assert found.chosen in {"dense", "scan", "lists"}
    assert "300" in step_rows([found])


def test_gains_are_against_the_best_dense_form() -> None:
    times = {
        "lists": 2.0,
        "without": 3.0,
        "auto": 4.0,
        "autograd": 9.0,
        "by hand": 6.0,
        "sparse backward": 8.0,
        "fused": 5.0,
    }
    found = Timed(Place(64, 100_000, 1, 1), times, "lists", 0.0)
    assert (found.dense, found.gain, found.bound, found.choice) == ("by hand", 3.0, 2.5, 0.5)


def test_turns_begin_with_everybody_and_go_both_ways() -> None:
    assert ["".join(in_turn(["a", "b", "c"], turn)) for turn in range(3)] == ["abc", "acb", "cab"]


def test_a_training_is_the_same_for_all_three() -> None:
    case = Case("random", 500, 64, 20.0, 2)
    found = trained(case, 1)
    assert set(found.seconds) == set(found.accuracies) == {"lists", "auto", "dense"}
    assert found.form in DENSE_FORMS
    assert found.apart < 1e-4
    assert found.accuracies["lists"] == pytest.approx(found.accuracies["dense"], abs=0.01)
    assert "random" in run_rows([("random", found)])


def test_a_best_form_is_one_of_them_and_moves_nothing(given: Problem) -> None:
    before = given.weights.clone()
    assert best_dense(given, 4, threads=1) in DENSE_FORMS
    assert torch.equal(before, given.weights)


def test_lists_hold_few_of_the_neurons_and_report_those_that_fire() -> None:
    found = grown(1000, 8)
    assert 0 < found.active < found.candidates < 0.5 * found.width
    assert found.bytes > 4 * found.candidates * 1024
    assert "1000" in growth_rows([found])


def test_an_exponent_is_that_of_a_power() -> None:
    assert exponent([Grown(m, 3.0 * m**0.7, 1.0, 1) for m in (10, 100, 1000)]) == pytest.approx(0.7)


def test_promises_are_about_the_least() -> None:
    times = {
        "lists": 1.0,
        "without": 9.0,
        "auto": 1.0,
        "autograd": 9.0,
        "by hand": 8.0,
        "sparse backward": 9.0,
        "fused": 5.0,
    }
    steps = [
        Timed(Place(64, 100_000, batch, 1), times | {"by hand": hand}, "lists", 1e-6)
        for batch, hand in ((1, 8.0), (16, 4.0))
    ]
    seconds, accuracies = {"lists": 2.0, "auto": 4.0, "dense": 3.0}, {"lists": 0.99, "auto": 0.985, "dense": 0.99}
    run = Trained(
        DIGITS[-1], 1, seconds, accuracies, "by hand", "lists", slack=0.25, building=0.1, refreshed=0.2, apart=1e-5
    )
    made = promises(
        steps, [run], [replace(run, case=LOSING["narrow"])], [Grown(m, float(m), 1.0, 1) for m in (10, 100)]
    )
    assert [promise.value for promise in made] == pytest.approx([4.0, 0.75, 1.0, 0.5, 0.985, 1.0, 0.1])


def test_more_is_measured_the_more_is_asked_for() -> None:
    counts = [(len(list(places(size, THREADS))), len(cases(size)[0])) for size in ("quick", "standard", "full")]
    assert counts == sorted(counts)
    assert counts[-1] == (2 * 27, len(DIGITS))
