"""docs/optimizers.md is what its generator writes, and the generator leaves nothing of the catalog out."""

import pytest

from optim.catalog import COMMON, OPTIMIZERS, SCHEDULES, WARMUPS, OptimizerInfo, Option, ScheduleInfo
from scripts import optimizers_page


def test_the_page_is_what_is_written() -> None:
    written = optimizers_page.PAGE.read_text(encoding="utf-8")
    assert written == optimizers_page.page(), "run .venv/bin/python -m scripts.optimizers_page"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_has_its_formula(name: str) -> None:
    formula = optimizers_page.formula(name)
    assert any(line.startswith("    ") and "<-" in line for line in formula.splitlines())
    assert "Source:" not in formula
    assert formula in optimizers_page.page()


def test_everything_has_its_place() -> None:
    page = optimizers_page.page()
    infos: list[OptimizerInfo | ScheduleInfo] = [*OPTIMIZERS.values(), *SCHEDULES.values()]
    for info in infos:
        assert f"\n### {info.title}: `{info.name}`\n" in page
        assert info.source in page
    for name in (*WARMUPS, *COMMON):
        assert f"\n| `{name}` | " in page


@pytest.mark.parametrize(
    ("option", "row"),
    [
        (
            Option("lr", "float", 1e-3, 0, 1e6, low_open=True, search_low=1e-4, search_high=0.1, scale="log", title="Rate"),
            ("`lr`", "Rate", "0.001", "(0, 1e+06]", "0.0001 to 0.1", "log", "1"),
        ),
        (Option("n", "int", 3, 0, 9, title="Steps"), ("`n`", "Steps", "3", "whole, in [0, 9]", "", "", "")),
        (Option("on", "bool", True, 0, 1, title="On"), ("`on`", "On", "true", "true, false", "", "", "")),
        (Option("c", "choice", "a", choices=("a", "b"), title="C"), ("`c`", "C", "a", "a, b", "", "", "")),
        (
            Option("p", "points", (0.5, 0.75), 0, 1, high_open=True, title="P"),
            ("`p`", "P", "0.5, 0.75", "rising numbers in [0, 1)", "", "", ""),
        ),
    ],
)  # fmt: skip
def test_rows(option: Option, row: tuple[str, ...]) -> None:
    assert optimizers_page._row(option) == row


def test_a_bar_does_not_end_a_cell() -> None:
    assert optimizers_page._line(["a|b", "c"]) == "| a\\|b | c |"
