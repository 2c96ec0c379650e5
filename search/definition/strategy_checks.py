"""Whether a strategy can search a space; where it cannot, the fault names one that can."""

from collections.abc import Callable, Mapping

from search.errors import Fault
from search.space.parameters import CategoricalParameter, Parameter, grid_axis, lattice
from search.space.plan import GRID_LIMIT, count_grid


def strategy_faults(
    strategy: str | None, space: Mapping[str, Parameter], *, whole: bool, has_trials: bool
) -> list[Fault]:
    """Return what keeps a strategy from searching the parameters of `space`; `whole` says that those are all there are.

    Without a valid `strategy` there is nothing to say.
    """
    if strategy is None:
        return []
    check = _CHECKS.get(strategy)
    faults = [] if check is None else check(space, whole)
    if strategy != "grid" and not has_trials:
        faults.append(Fault("budget.trials", f"is required by the strategy {strategy}"))
    return faults


def _grid_faults(space: Mapping[str, Parameter], whole: bool) -> list[Fault]:
    faults = [
        Fault(f"space.{name}", "is continuous, and a grid needs its points: give levels (a count or a list) or a step")
        for name, parameter in space.items()
        if grid_axis(parameter) is None
    ]
    if faults or not whole:
        return faults
    number = count_grid(space)
    if number > GRID_LIMIT:
        message = f"the grid has {number:,} points and may have {GRID_LIMIT:,}: give fewer levels, or search at random"
        faults.append(Fault("space", message))
    return faults


def _cmaes_faults(space: Mapping[str, Parameter], whole: bool) -> list[Fault]:
    strange = [f"{name} {why}" for name, parameter in space.items() if (why := _no_coordinate(parameter)) is not None]
    if strange:
        message = f"cmaes searches numbers that are always there, but {', '.join(strange)}: use bayesian, or fix these"
        return [Fault("search.strategy", message)]
    if whole and all(lattice(parameter) is not None for parameter in space.values()):
        message = "cmaes needs a continuous parameter, and each of these has steps or one value: use bayesian, or grid"
        return [Fault("search.strategy", message)]
    return []


def _no_coordinate(parameter: Parameter) -> str | None:
    if parameter.when is not None:
        return "has a condition"
    return "is a choice" if isinstance(parameter, CategoricalParameter) and len(parameter.choices) > 1 else None


_CHECKS: Mapping[str, Callable[[Mapping[str, Parameter], bool], list[Fault]]] = {
    "grid": _grid_faults,
    "cmaes": _cmaes_faults,
}
