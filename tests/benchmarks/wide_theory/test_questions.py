"""Every question has an answer for a size that takes a second."""

import json
from collections.abc import Mapping

import pytest

from benchmarks.wide_theory import __main__ as benchmark
from benchmarks.wide_theory.sizes import SIZES, Size

TINY = Size(
    seeds=(1, 2),
    width=200,
    wide=300,
    targets=(1.0, 0.9, 0.8, 0.7, 0.6),
    rates=(20.0, 40.0),
    widths=(50, 200),
    examples=(100, 200),
    epochs=2,
    listed=200,
)
ROWS: Mapping[str, int] = {"time": 5, "width": 6, "examples": 2, "inputs": 3, "activation": 3}


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SIZES", {**SIZES, "quick": TINY})


@pytest.mark.parametrize("name", benchmark.QUESTIONS)
def test_a_question_is_answered(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--quick", "--json", "--only", name])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    answer = found["answers"][name]
    assert (found["benchmark"], found["size"], len(answer["rows"])) == ("wide_theory", "quick", ROWS[name])
    assert {len(row) for row in answer["rows"]} == {len(answer["heads"])}
    assert all(slope["error"] > 0 for slope in answer["slopes"].values())


def test_more_examples_leave_less_loss() -> None:
    (slope,) = benchmark.QUESTIONS["examples"](TINY).slopes.values()
    assert slope is not None
    assert slope.slope < 0
