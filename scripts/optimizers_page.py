"""Write docs/optimizers.md from the catalog and the rules' own docstrings: `python -m scripts.optimizers_page`."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from optim.catalog import (
    COMMON,
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    OPTIMIZERS,
    SCHEDULES,
    WARMUPS,
    OptimizerInfo,
    Option,
    ScheduleInfo,
    WarmupInfo,
)
from optim.precondition.methods import METHODS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "optimizers.md"
RULES = ROOT / "optim" / "rules"

INTRODUCTION = f"""\
# Optimizers, schedules and warm-ups

<!-- Written by `.venv/bin/python -m scripts.optimizers_page` from the catalog; edit that, not this page. -->

What a study of a recipe can choose and search. An option stands in the study's `space`, where it is searched, or in its
`objective`, where it is fixed; what stands in neither has its default. Without `optimizer` and `schedule` a trial trains
with `{DEFAULT_OPTIMIZER}` and `{DEFAULT_SCHEDULE}`. `GET /v1/optimizers`, `/v1/schedules` and `/v1/objectives` give the same as
JSON.

## In a training loop of your own

`optim.build.build(name, model.parameters(), **options)` (`tuneup.optim.build` where the wheel is installed) returns a
`torch.optim.Optimizer` with the options named below: parameter groups, `state_dict`, closures, torch's schedulers and
GradScaler work as usual. torch's OneCycleLR turns `betas` or `momentum`, so give it `cycle_momentum=False` with optimizers
that have neither. What the schedule-free optimizers train is not what they recommend: evaluate, and save the result,
inside `with optimizer.evaluation():`; save a checkpoint to go on from outside.

## Presets

A preset fills a space with the ranges recommended below:

```yaml
space:
  preset: [adamw, momentum]     # or one name
  lr: {{type: float, low: 1.0e-3, high: 0.1, scale: log}}    # in place of the recommended range
  warmup: null                  # not searched
budget: {{trials: 60}}
```

- Every option with a recommended range is searched, of the optimizers named and of those common to all, if the budget
  has at least the trials in the column "from trials". A small budget is spent on the learning rate.
- Of several optimizers one is a choice in the space. An option that several have is searched over the smallest range
  that holds all of theirs, in trials whose optimizer recommends it. Optimizers whose rates or weight decays differ much
  (SGD and Lion; L2 and decoupled decay) are better tuned in a study each.
- What the objective fixes or the space gives itself is not added. `null` drops a recommendation.
- Schedules are not part of it: name one, or search `schedule` beside the preset.
- A grid needs points and has no presets, unless each range is overridden with `levels` or dropped.
- The study is stored, and shown, with the parameters in place of the preset. A budget raised later adds none.

Scales: `log` is uniform in log x; `reverse_log` is uniform in log(1 - x), for weights that crowd below 1.
"""
FORMULAS = """\
In the formulas theta is a parameter, g its gradient and t the number of the step, from 1. Other letters are running
values that start at 0 unless their text says otherwise. Those that precondition (docs/preconditioning.md) turn g as their
formula says, and step along the result with momentum.
"""


def page() -> str:
    """Return the whole page."""
    sections = [
        INTRODUCTION,
        "## Optimizers\n",
        FORMULAS,
        *map(_optimizer, OPTIMIZERS.values()),
        "## Schedules\n",
        "The learning rate at a step is `lr` times the factor of the schedule, which begins after the warm-up.\n",
        *map(_schedule, SCHEDULES.values()),
        "## Warm-ups\n",
        "The shapes that `warmup_shape` names, from the first step to the base rate.\n",
        _warmups(WARMUPS.values()),
        "## Common options\n",
        "What every training has, whatever its optimizer and schedule.\n",
        _options(COMMON.values()),
    ]
    return "\n".join(sections)


def _optimizer(info: OptimizerInfo) -> str:
    parts = [f"### {info.title}: `{info.name}`", info.when_to_use, formula(info.name), f"Source: {info.source}."]
    return "\n\n".join([*parts, _options(info.options)])


def _schedule(info: ScheduleInfo) -> str:
    options = [_options(info.options)] if info.options else []
    return "\n\n".join([f"### {info.title}: `{info.name}`", f"{info.source}.", *options]) + ("" if options else "\n")


def formula(name: str) -> str:
    """Return what the docstring of a rule says before it names its source, without the first line: its formula.

    Of one that preconditions return where it stands on the three axes, too.
    """
    if name in METHODS:
        method = METHODS[name]
        axes = f"Curvature: {method.curvature}. Held as: {method.representation}. Solved by: {method.solver}."
        return f"{axes}\n\n    {method.formula}"
    text = ast.get_docstring(ast.parse((RULES / f"{name}.py").read_text(encoding="utf-8"))) or ""
    _, _, body = text.partition("\n\n")
    return body.partition("\nSource:")[0].strip("\n")


def _warmups(warmups: Iterable[WarmupInfo]) -> str:
    return _table(("warm-up", "", "factor"), ((f"`{info.name}`", info.title, info.source) for info in warmups))


def _options(options: Iterable[Option]) -> str:
    head = ("option", "meaning", "default", "valid", "recommended", "scale", "from trials")
    return _table(head, map(_row, options))


def _row(option: Option) -> tuple[str, ...]:
    searched = ("", "", "")
    if option.search_low is not None and option.search_high is not None:
        ends = f"{option.search_low:g} to {option.search_high:g}"
        searched = (ends, option.scale, str(max(option.search_from, 1)))
    return (f"`{option.name}`", option.title, _shown(option.default), _valid(option), *searched)


def _valid(option: Option) -> str:
    if option.kind == "choice":
        return ", ".join(option.choices)
    if option.kind == "bool":
        return "true, false"
    return {"points": "rising numbers in ", "int": "whole, in "}.get(option.kind, "") + option.range


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    def lines() -> Iterator[str]:
        names = list(head)
        yield _line(names)
        yield _line("---" for _ in names)
        yield from map(_line, rows)

    return "\n".join(lines()) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: written")
