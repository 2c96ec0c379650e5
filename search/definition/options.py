"""The options that recipes know by name: those of optimizers and schedules, and those common to all."""

from collections.abc import Mapping

from optim.catalog import (
    COMMON,
    DEFAULT_OPTIMIZER,
    DEFAULT_SCHEDULE,
    SCHEDULES,
    TRAINERS,
    OptimizerInfo,
    Option,
    ScheduleInfo,
    by_name,
)


def _options(table: Mapping[str, OptimizerInfo] | Mapping[str, ScheduleInfo]) -> Mapping[str, Mapping[str, Option]]:
    return {name: by_name(info.options) for name, info in table.items()}


# Choices that bring options with them: name -> (the options of each choice, the default).
FAMILIES: Mapping[str, tuple[Mapping[str, Mapping[str, Option]], str]] = {
    "optimizer": (_options(TRAINERS), DEFAULT_OPTIMIZER),
    "schedule": (_options(SCHEDULES), DEFAULT_SCHEDULE),
}
_NAMES = frozenset(
    [*COMMON, *FAMILIES, *(name for options, _ in FAMILIES.values() for held in options.values() for name in held)]
)


def is_option(name: str) -> bool:
    """Say whether any recipe knows a name: an option, or a choice that brings options."""
    return name in _NAMES
