"""Lengths of intervals' warm-up and ramp, as shares of all steps."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor, nn

from optim import catalog
from optim.build import build
from optim.precondition.interface import Preconditioner
from optim.precondition.lengths import in_steps, shares
from optim.precondition.schedule import due_steps

STEPS = 40


@pytest.mark.parametrize(
    ("share", "total", "steps"),
    [(0.25, 40, 10), (0.26, 40, 11), (1.0, 40, 40), (1e-6, 40, 1), (0.1, 30, 3), (0.0, 40, 0)],
)
def test_a_share_becomes_steps(share: float, total: int, steps: int) -> None:
    for length, name in catalog.SHARES.items():
        found = in_steps({name: share, length: 0, "damping": 0.1}, total)
        assert found == {name: 0.0, length: steps, "damping": 0.1}
        assert in_steps(found, None) == found


def test_steps_stay_as_they_are() -> None:
    given = {"interval_warmup": 7, "interval_warmup_share": 0.0, "interval_ramp": 3, "interval_ramp_share": 0.0}
    assert in_steps(given, None) == in_steps(given, STEPS) == given
    assert shares(given) == []
    assert shares(given | {"interval_ramp_share": 0.5}) == ["interval_ramp_share"]


@pytest.mark.parametrize("steps", [0, -1, 2.5, True])
def test_a_total_is_a_count(steps: Any) -> None:
    with pytest.raises(ValueError, match="total_steps must be a whole number of at least 1, got"):
        in_steps({}, steps)


def estimated(method: str, options: dict[str, Any], *, total: int | None) -> list[int]:
    """Return the steps at which a method made its preconditioner of curvature, each of them being seen to change."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    precondition = Preconditioner(model, method, curvature_interval=1, total_steps=total, **options)
    stepping, found, before = torch.optim.SGD(model.parameters(), lr=1e-2), [], None
    for step in range(STEPS):
        inputs, targets = torch.randn(8, 4), torch.randint(3, (8,))

        def closure(inputs: Tensor = inputs, targets: Tensor = targets) -> tuple[Tensor, Tensor]:
            outputs = model(inputs)
            return F.cross_entropy(outputs, targets), outputs

        precondition.backward(closure)
        stepping.step()
        now = torch.cat([part.flatten() for part in precondition.state_dict()["state"]["inverse"]])
        if before is None or not torch.equal(now, before):
            found.append(step)
        before = now
    return found


@pytest.mark.parametrize("method", ["kfac", "shampoo", "ngd_diagonal"])
@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"interval_warmup_share": 0.25}, {"warmup": 10}),
        ({"interval_warmup_share": 0.11, "interval_ramp": 12, "interval_shape": "linear"}, {"warmup": 5, "ramp": 12, "shape": "linear"}),
        ({"interval_ramp_share": 0.5, "interval_shape": "step"}, {"ramp": 20, "shape": "step"}),
        ({"interval_warmup_share": 1.0}, {"warmup": 40}),
    ],
)  # fmt: skip
def test_preconditioners_are_made_at_the_declared_steps(
    method: str, given: dict[str, Any], same: dict[str, Any]
) -> None:
    assert estimated(method, {"interval": 7, **given}, total=STEPS) == due_steps(STEPS, interval=7, **same)


BOTH = "interval_warmup and interval_warmup_share: give the length in steps or as a share of all steps, not both"
UNKNOWN = "interval_ramp_share: is a share of all steps: say how many there are, total_steps=..., or give interval_ramp"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"interval_warmup": 3, "interval_warmup_share": 0.1, "total_steps": 50}, BOTH),
        ({"interval_ramp_share": 0.1}, UNKNOWN),
        ({"interval_ramp_share": 1.1, "total_steps": 50}, r"interval_ramp_share: must be in \[0, 1\], got 1.1"),
        ({"interval_warmup_share": 0.1, "total_steps": 0}, "total_steps must be a whole number of at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused_at_creation(options: dict[str, Any], says: str) -> None:
    model = nn.Linear(4, 3)
    with pytest.raises(ValueError, match=says):
        Preconditioner(model, "kfac", **options)
    for method in ("kfac", "shampoo"):
        with pytest.raises(ValueError, match=says):
            build(method, model, **options)


def test_build_hands_steps_to_the_rule() -> None:
    optimizer = build("shampoo", nn.Linear(4, 3), interval_warmup_share=0.25, total_steps=STEPS)
    assert optimizer.param_groups[0]["interval_warmup"] == 10
    with pytest.raises(ValueError, match="interval_warmup_share: a group says it in steps"):
        optimizer.add_param_group({"params": [torch.zeros(2)], "interval_warmup_share": 0.5})
