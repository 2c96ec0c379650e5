"""What the parts of a study definition say about each other, checked over the parts that could be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from search.catalog_checks import option_faults
from search.errors import Fault
from search.objectives import NetworkKind, Recipe
from search.parameters import Parameter, Value, grid_axis
from search.schema import MlpNetwork, Network
from search.space import GRID_LIMIT, count_grid, space_faults


@dataclass(frozen=True, slots=True)
class Parts:
    """What could be read. None is what could not, or is not there.

    `space` holds the parameters read and what was saved of those that could not be; `faulty` names the latter.
    """

    recipe: Recipe | None = None
    data: str | None = None
    network: Network | None = None
    fixed: Mapping[str, Value] = field(default_factory=dict)
    metric_names: Mapping[int, str] = field(default_factory=dict)
    optimized: tuple[str, ...] | None = None
    space: Mapping[str, Parameter] = field(default_factory=dict)
    faulty: frozenset[str] = frozenset()
    strategy: str | None = None
    has_trials: bool = True


def cross_faults(parts: Parts) -> list[Fault]:
    """Return every fault between parts, and those of names that are valid only where a catalog has them."""
    faults = space_faults(parts.space, parts.faulty)
    countable = not (faults or parts.faulty)
    if parts.recipe is not None:
        faults += _objective_faults(parts.recipe, parts.data, parts.network)
        faults += option_faults(parts.fixed, parts.space, parts.faulty)
    faults += _metric_faults(parts)
    if parts.strategy == "grid":
        whole = {name: parameter for name, parameter in parts.space.items() if name not in parts.faulty}
        faults += _grid_faults(whole, countable=countable)
    elif parts.strategy is not None and not parts.has_trials:
        faults.append(Fault("budget.trials", f"is required by the strategy {parts.strategy}"))
    return faults


def _objective_faults(recipe: Recipe, name: str | None, network: Network | None) -> list[Fault]:
    kind = next((kind for kind in recipe.networks if network is not None and kind.name == network.kind), None)
    data = next((data for data in recipe.data if data.name == name), None)
    faults = _width_faults(network, kind) if network is not None and kind is not None else []
    if name is not None and data is None:
        valid = ", ".join(data.name for data in recipe.data)
        faults.append(Fault("objective.data", f"unknown data set {name!r}; valid are {valid}"))
    elif kind is not None and kind.images_only and data is not None and data.images is None:
        pictures = ", ".join(data.name for data in recipe.data if data.images is not None)
        faults.append(Fault("objective.network.kind", f"{kind.name} needs pictures: use mlp, or the data {pictures}"))
    return faults


def _width_faults(network: Network, kind: NetworkKind) -> list[Fault]:
    widths = network.hidden if isinstance(network, MlpNetwork) else network.channels
    path = f"objective.network.{kind.layers}"
    faults = [
        Fault(f"{path}[{index}]", f"must be at most {kind.widest}, got {width}")
        for index, width in enumerate(widths)
        if width > kind.widest
    ]
    if len(widths) > kind.most_layers:
        faults.append(Fault(path, f"must have at most {kind.most_layers} layers, got {len(widths)}"))
    return faults


def _metric_faults(parts: Parts) -> list[Fault]:
    faults = []
    reported = None if parts.recipe is None else [metric.name for metric in parts.recipe.metrics]
    seen: set[str] = set()
    for index, name in parts.metric_names.items():
        path = f"metrics[{index}].name"
        if name in seen:
            faults.append(Fault(path, f"{name!r} is listed already"))
        seen.add(name)
        if reported is not None and name not in reported:
            faults.append(Fault(path, f"the recipe does not report {name!r}; valid are {', '.join(reported)}"))
    if parts.optimized is not None and len(parts.optimized) != 1:
        got = ", ".join(parts.optimized) or "none"
        message = f"exactly one metric must have the role optimize, got {got}; give the others the role store"
        faults.append(Fault("metrics", message))
    return faults


def _grid_faults(space: Mapping[str, Parameter], *, countable: bool) -> list[Fault]:
    faults = [
        Fault(f"space.{name}", "is continuous, and a grid needs its points: give levels (a count or a list) or a step")
        for name, parameter in space.items()
        if grid_axis(parameter) is None
    ]
    if faults or not countable:
        return faults
    number = count_grid(space)
    if number > GRID_LIMIT:
        message = f"the grid has {number:,} points and may have {GRID_LIMIT:,}: give fewer levels, or search at random"
        faults.append(Fault("space", message))
    return faults
