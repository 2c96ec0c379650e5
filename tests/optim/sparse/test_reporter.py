"""One suite over all back ends: their answers are those of all inner products, whatever has happened to the rows."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from optim.sparse.back_ends.table import BACK_ENDS
from optim.sparse.reporter import HalfSpaceReporter
from tests.optim.sparse import cases

INPUTS, WIDTH, FEATURES, THRESHOLD = 30, 700, 8, 1.1
EVERYBODY = torch.arange(INPUTS)

every_back_end = pytest.mark.parametrize("back_end", BACK_ENDS)


def built(
    back_end: str, *, slack: float = 0.25, width: int = WIDTH, features: int = FEATURES, outputs: int = 1
) -> HalfSpaceReporter:
    layer = cases.layer(inputs=INPUTS, width=width, features=features, outputs=outputs)
    return HalfSpaceReporter.build(
        layer.inputs, layer.weights, layer.signs, threshold=THRESHOLD, back_end=back_end, slack=slack
    )


def audited(reporter: HalfSpaceReporter) -> int:
    """Compare answers for all inputs, and for points that are none of them; return how many pairs that were."""
    others = cases.points(20, reporter.layer.inputs.shape[1], seed=99)
    weights = reporter.layer.weights
    pairs = cases.audit(reporter.query(EVERYBODY), reporter.layer.inputs, weights, THRESHOLD)
    return pairs + cases.audit(reporter.query_points(others), others, weights, THRESHOLD)


def present(reporter: HalfSpaceReporter, generator: Generator, share: float) -> Tensor:
    """Draw some of the neurons that were not deleted."""
    there = torch.nonzero(reporter.layer.signs[:, 0])[:, 0]
    return there[torch.rand(len(there), generator=generator) < share]


def move(reporter: HalfSpaceReporter, generator: Generator) -> None:
    """Move some rows, most a little and a few far, in two pieces that are told together."""
    neurons = present(reporter, generator, 0.1).repeat(2)
    far = torch.rand(len(neurons), 1, generator=generator) < 0.02
    steps = torch.randn(len(neurons), reporter.layer.weights.shape[1], generator=generator) * (0.02 + far)
    reporter.layer.weights.index_add_(0, neurons, steps)
    reporter.update(neurons, steps.norm(dim=1))


def insert(reporter: HalfSpaceReporter, generator: Generator) -> None:
    rows = torch.randn(5, reporter.layer.weights.shape[1], generator=generator)
    numbers = reporter.insert(rows, torch.full((5, reporter.layer.signs.shape[1]), -1.0))
    assert torch.equal(reporter.layer.weights[numbers], rows)
    assert (reporter.layer.signs[numbers] == -1.0).all()


def delete(reporter: HalfSpaceReporter, generator: Generator) -> None:
    numbers = present(reporter, generator, 0.005)
    reporter.delete(numbers)
    assert not reporter.layer.weights[numbers].any()
    assert not reporter.layer.signs[numbers].any()


@every_back_end
@pytest.mark.parametrize("slack", [0.0, 0.25])
def test_answers_are_exact_before_and_after_updates(back_end: str, slack: float) -> None:
    reporter, generator = built(back_end, slack=slack, outputs=2), cases.seeded(7)
    assert audited(reporter) >= 10_000
    changes: list[Callable[[HalfSpaceReporter, Generator], None]] = [move, move, move, insert, delete]
    pairs = 0
    for step in range(500):
        changes[step % len(changes)](reporter, generator)
        if step % 50 == 49:
            pairs += audited(reporter)
    assert pairs >= 10_000


@pytest.mark.parametrize("back_end", ["ball_tree", "correlation_tree", "lists"])
def test_answers_do_not_depend_on_what_has_been(back_end: str) -> None:
    old, generator = built(back_end), cases.seeded(3)
    for _ in range(50):
        move(old, generator)
    layer = old.layer
    anew = HalfSpaceReporter.build(
        layer.inputs, layer.weights.clone(), layer.signs, threshold=THRESHOLD, back_end=back_end
    )
    for one, other in zip(old.query(EVERYBODY).pairs(), anew.query(EVERYBODY).pairs(), strict=True):
        assert torch.equal(one, other)


@every_back_end
@pytest.mark.parametrize(("width", "features"), [(1, 1), (2, 3), (33, 2), (65, 40), (1000, 1)])
def test_answers_are_exact_for_odd_sizes(back_end: str, width: int, features: int) -> None:
    reporter, generator = built(back_end, width=width, features=features), cases.seeded(1)
    audited(reporter)
    for change in (move, insert, move, delete, insert):
        change(reporter, generator)
        audited(reporter)


@every_back_end
def test_equal_rows_and_a_threshold_of_zero(back_end: str) -> None:
    inputs = cases.points(4, 3, seed=0)
    weights = cases.points(1, 3, seed=1).repeat(300, 1)
    reporter = HalfSpaceReporter.build(inputs, weights, threshold=0.0, back_end=back_end)
    cases.audit(reporter.query(torch.arange(4)), inputs, weights, 0.0)


@every_back_end
def test_the_same_input_may_be_asked_for_twice_and_none_at_all(back_end: str) -> None:
    reporter = built(back_end)
    numbers = torch.tensor([3, 3, 0])
    cases.audit(reporter.query(numbers), reporter.layer.inputs[numbers], reporter.layer.weights, THRESHOLD)
    assert len(reporter.query(numbers[:0]).counts) == 0


@every_back_end
def test_deleted_neurons_are_reused_before_there_are_more(back_end: str) -> None:
    reporter = built(back_end)
    reporter.delete(torch.tensor([8, 5]))
    rows = torch.full((3, FEATURES), 2.0)
    assert reporter.insert(rows).tolist() == [5, 8, WIDTH]
    assert reporter.layer.weights.shape == (WIDTH + 1, FEATURES)
    assert (reporter.layer.signs[[5, 8, WIDTH]] == 1.0).all()
    audited(reporter)


@every_back_end
def test_stats_count_what_was_done(back_end: str) -> None:
    reporter = built(back_end)
    assert reporter.stats().queries == 0
    active = reporter.query(EVERYBODY[:10])
    stats = reporter.stats()
    assert stats.queries == 10
    assert stats.active == pytest.approx(active.counts.sum().item() / (10 * WIDTH))
    assert stats.candidates >= stats.active
    assert stats.build_seconds > 0.0
    assert (stats.bytes == 0) is (back_end == "dense")
    assert (stats.refreshed, stats.flushes) == (0, 0)


@pytest.mark.parametrize("back_end", sorted(set(BACK_ENDS) - {"dense"}))
def test_stats_count_refreshed_rows(back_end: str) -> None:
    reporter = built(back_end)
    neurons = torch.arange(100)
    reporter.layer.weights[neurons] += 1.0
    reporter.update(neurons, torch.full((100,), FEATURES**0.5 + 1e-5))
    for _ in range(20):  # lists wait until trying rows that strayed has cost as much as refreshing them
        reporter.query(torch.arange(len(reporter.layer.inputs)))
        reporter.update(neurons[:1], torch.zeros(1))
    assert (reporter.stats().refreshed, reporter.stats().flushes) == (100, 1)
    audited(reporter)


def test_less_than_the_slack_refreshes_nothing() -> None:
    reporter = built("lists")
    for _ in range(3):
        reporter.layer.weights[:100, 0] += 0.08
        reporter.update(torch.arange(100), torch.full((100,), 0.08))
    assert reporter.stats().refreshed == 0
    audited(reporter)


def refused(message: str, **changed: object) -> None:
    layer = cases.layer(inputs=10, width=20, features=4)
    given: dict[str, object] = {"inputs": layer.inputs, "weights": layer.weights, "threshold": 1.0} | changed
    with pytest.raises(ValueError, match=message):
        HalfSpaceReporter.build(**given)  # type: ignore[arg-type]


def test_unknown_back_ends_are_refused() -> None:
    refused("unknown back end 'kd': choose one of ball_tree, correlation_tree, dense, lists", back_end="kd")


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
def test_thresholds_and_slacks_are_at_least_zero(wrong: float) -> None:
    refused("threshold must be a finite number of at least 0", threshold=wrong)
    refused("slack must be a finite number of at least 0", slack=wrong)


def test_inputs_off_the_sphere_are_refused_by_row() -> None:
    inputs = cases.points(10, 4, seed=0)
    inputs[3] *= 1.0002
    inputs[4] *= 1.00005
    refused("^input 3 is not of length 1: put inputs on the unit sphere", inputs=inputs)


def test_what_is_not_finite_is_refused_by_row() -> None:
    for name in ("inputs", "weights"):
        wrong = cases.points(10, 4, seed=0)
        wrong[[2, 6], 1] = float("nan")
        what = {"inputs": "inputs", "weights": "neurons"}[name]
        refused(f"^{what} 2, 6 are not finite: mend or leave out", **{name: wrong})


def test_other_shapes_and_types_are_refused() -> None:
    whole = cases.points(10, 4, seed=0)
    refused(r"inputs must be the rows of a matrix \(n, d\), got shape \(4,\)", inputs=whole[0])
    refused("neurons must be the rows of a matrix", weights=whole[:0])
    refused("neurons must have 4 numbers each, as the others have, got 3", weights=whole[:, :3].contiguous())
    refused("neurons must be float32, contiguous and on the CPU", weights=whole.double())
    refused("inputs must be float32, contiguous and on the CPU", inputs=whole.T.contiguous().T)
    refused("each of 20 neurons needs its signs, got 7", signs=torch.ones(7, 1))
    refused("neurons must not require gradients", weights=whole.clone().requires_grad_())


@pytest.mark.parametrize(("back_end", "needed"), [("lists", "margin lists"), ("correlation_tree", "correlation trees")])
def test_too_little_memory_is_refused_before_it_is_taken(back_end: str, needed: str) -> None:
    layer = cases.layer(inputs=500, width=4000, features=4)
    with pytest.raises(
        ValueError, match=rf"{needed} of 500 inputs and 4000 neurons need (about )?\d+ MiB, of 1 allowed"
    ):
        HalfSpaceReporter.build(layer.inputs, layer.weights, threshold=1.5, back_end=back_end, allowed_bytes=2**20)
    HalfSpaceReporter.build(layer.inputs, layer.weights, threshold=1.5, back_end=back_end, allowed_bytes=2**26)


def test_wrong_questions_are_refused() -> None:
    reporter = built("lists")
    with pytest.raises(ValueError, match="there is no input 30: they are numbered 0 to 29"):
        reporter.query(torch.tensor([2, 30]))
    with pytest.raises(ValueError, match="asked for by numbers"):
        reporter.query(torch.tensor([1.0]))
    with pytest.raises(ValueError, match="points must have 8 numbers each"):
        reporter.query_points(torch.ones(1, 7))


def test_wrong_changes_are_refused() -> None:
    reporter = built("lists")
    with pytest.raises(ValueError, match="each of 2 neurons needs a finite distance"):
        reporter.update(torch.tensor([1, 2]), torch.tensor([0.1]))
    with pytest.raises(ValueError, match="each of 1 neurons needs a finite distance"):
        reporter.update(torch.tensor([1]), torch.tensor(0.1))
    with pytest.raises(ValueError, match="finite distance of at least 0"):
        reporter.update(torch.tensor([1]), torch.tensor([-0.1]))
    with pytest.raises(ValueError, match="neuron 0 is not finite"):
        reporter.insert(torch.full((1, FEATURES), float("nan")))
    with pytest.raises(ValueError, match="there is no neuron 700"):
        reporter.delete(torch.tensor([700]))
    reporter.delete(torch.tensor([4]))
    for change in (reporter.delete, lambda numbers: reporter.update(numbers, torch.ones(1))):
        with pytest.raises(ValueError, match="neuron 4 was deleted"):
            change(torch.tensor([4]))
