"""The moving average against its definition, and the constants it is known by."""

import math
from typing import Any

import pytest
import torch

from optim import averages
from optim.averages import moving_average, window

BETAS = [0.0, 0.5, 0.9, 0.98, 0.999]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def reference(values: list[float], beta: float, correct: bool) -> list[float]:
    """Run the definition, number by number."""
    average, found = 0.0, []
    for i, value in enumerate(values, start=1):
        average = beta * average + (1 - beta) * value
        found.append(average / (1 - beta**i) if correct else average)
    return found


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("beta", BETAS)
def test_equals_its_definition(beta: float, correct: bool) -> None:
    values = noise(200)
    wanted = reference(values.tolist(), beta, correct)
    assert moving_average(values, beta, correct).tolist() == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("beta", "weight"), [(0.9, 0.651), (0.98, 0.636), (0.99, 0.634)])
def test_weight_of_the_window(beta: float, weight: float) -> None:
    count = round(window(beta).item())
    assert window(beta).item() == pytest.approx(1 / (1 - beta), abs=1e-9)
    signal = torch.zeros(5 * count)
    signal[-count:] = 1
    measured = moving_average(signal, beta)[-1].item()
    assert measured == pytest.approx(1 - beta**count, abs=1e-12)
    assert round(measured, 3) == weight


@pytest.mark.parametrize("beta", BETAS)
def test_a_constant_is_itself_with_correction_and_starts_cold_without(beta: float) -> None:
    signal = torch.full((300,), 3.7, dtype=torch.float64)
    assert torch.allclose(moving_average(signal, beta, bias_correction=True), signal, rtol=0, atol=1e-12)
    cold = moving_average(signal, beta)
    assert cold[0].item() == pytest.approx(3.7 * (1 - beta), abs=1e-12)
    assert torch.allclose(cold, 3.7 * (1 - beta ** torch.arange(1, 301, dtype=torch.float64)), rtol=0, atol=1e-12)
    assert beta == 0 or bool((cold[:20] < signal[:20]).all())


@pytest.mark.parametrize("correct", [False, True])
def test_step_by_step_is_the_same(correct: bool) -> None:
    values, betas = noise(3, 50), torch.tensor([0.1, 0.9, 0.99], dtype=torch.float64)
    whole = moving_average(values, betas, correct)
    state = averages.init()
    for index in range(50):
        before = state
        state = averages.update(state, values[:, index], betas)
        assert torch.equal(averages.read(state, bias_correction=correct), whole[:, index])
        assert index or before.average.item() == 0


@pytest.mark.parametrize("correct", [False, True])
def test_members_equal_separate_calls(correct: bool) -> None:
    values, betas = noise(4, 30), torch.tensor([0.0, 0.5, 0.9, 0.99], dtype=torch.float64)
    own_signals = moving_average(values, betas, correct)
    one_signal = moving_average(values[0], betas, correct)
    every_pair = moving_average(values, betas.reshape(4, 1), correct)
    assert own_signals.shape == one_signal.shape == (4, 30)
    assert every_pair.shape == (4, 4, 30)
    for i, beta in enumerate(betas.tolist()):
        assert torch.equal(own_signals[i], moving_average(values[i], beta, correct))
        assert torch.equal(one_signal[i], moving_average(values[0], beta, correct))
        assert torch.equal(every_pair[i, 1], moving_average(values[1], beta, correct))


def test_computes_in_float64_whatever_the_values_are() -> None:
    assert moving_average(torch.tensor([1, 2]), 0.5).tolist() == [0.5, 1.25]
    assert moving_average(torch.ones(2, dtype=torch.float32), 0.5).dtype == torch.float64
    assert moving_average(torch.ones(3, 0), 0.5).shape == (3, 0)
    assert averages.read(averages.init(), bias_correction=True).item() == 0


@pytest.mark.parametrize(
    ("beta", "shown"), [(1.0, "1.0"), (-0.1, "-0.1"), (math.nan, "nan"), (torch.tensor([0.5, 1.0]), "1.0")]
)
def test_refuses_a_beta_out_of_range(beta: Any, shown: str) -> None:
    message = rf"beta: must be in \[0, 1\), got {shown}"
    for call in (
        window,
        lambda bad: moving_average(torch.ones(3), bad),
        lambda bad: averages.update(averages.init(), 1, bad),
    ):
        with pytest.raises(ValueError, match=message):
            call(beta)


def test_refuses_a_single_number() -> None:
    with pytest.raises(ValueError, match="values must have an axis to average along"):
        moving_average(torch.tensor(1.0), 0.9)


def test_refuses_members_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"got values \(3,\), beta \(2,\)"):
        moving_average(torch.ones(3, 10), torch.tensor([0.5, 0.9]))
