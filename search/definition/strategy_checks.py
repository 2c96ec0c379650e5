"""Whether a strategy can search a space; where it cannot, the fault names one that can."""

from collections.abc import Callable, Iterable, Mapping

from search.errors import Fault
from search.space.axes import lattice
from search.space.nodes import as_searched
from search.space.parameters import CategoricalParameter, DerivedParameter, FixedParameter, Parameter


def strategy_faults(strategy: str | None, space: Mapping[str, Parameter], faulty: Iterable[str]) -> list[Fault]:
    """Return why a strategy cannot search the parameters that could be read; those in `faulty` are not looked at."""
    check = _CHECKS.get(strategy or "")
    broken = frozenset(faulty)
    read = {name: parameter for name, parameter in space.items() if name not in broken}
    return [] if check is None else check(read, not broken)


def _cmaes_faults(space: Mapping[str, Parameter], whole: bool) -> list[Fault]:
    strange = [f"{name} {why}" for name, parameter in space.items() if (why := _no_coordinate(parameter)) is not None]
    if strange:
        message = f"cmaes searches numbers that are always there, but {', '.join(strange)}: use bayesian, or fix these"
        return [Fault("search.strategy", message)]
    searched = [as_searched(parameter) for parameter in space.values() if not isinstance(parameter, DerivedParameter)]
    if whole and all(lattice(parameter) is not None for parameter in searched):
        message = "cmaes needs a continuous parameter, and each of these has steps or one value: use bayesian, or grid"
        return [Fault("search.strategy", message)]
    return []


def _no_coordinate(parameter: Parameter) -> str | None:
    if parameter.when is not None and not isinstance(parameter, FixedParameter | DerivedParameter):
        return "has a condition"
    return "is a choice" if isinstance(parameter, CategoricalParameter) and len(parameter.choices) > 1 else None


# By strategy; `whole` says that the parameters given are all there are.
_CHECKS: Mapping[str, Callable[[Mapping[str, Parameter], bool], list[Fault]]] = {"cmaes": _cmaes_faults}
