"""What the parts of a study definition say about each other, checked over the parts that could be read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from search.definition.catalog_checks import option_faults
from search.definition.decay_checks import decay_faults
from search.definition.metric_checks import name_faults, objective_faults
from search.definition.networks import Network, TransformerNetwork
from search.definition.objectives import RECIPES, NetworkKind, Recipe
from search.definition.strategy_checks import strategy_faults
from search.definition.uses import USES
from search.definition.warmup_checks import warmup_faults
from search.errors import Fault
from search.space.axes import grid_axis
from search.space.constraints import Constraint
from search.space.nodes import as_searched
from search.space.parameters import DerivedParameter, Parameter, Setting
from search.space.plan import Plan, plan
from search.space.points import GRID_LIMIT, Uncountable, grid
from search.space.validation import constraint_faults, space_faults, term_faults, witness_faults

_DATA_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_MISSPELT = 0.8  # names as alike as this (difflib's ratio) are taken for the same


@dataclass(frozen=True, slots=True)
class Parts:
    """What could be read. None is what could not, or is not there.

    `kind` is the objective's. `space` holds the parameters read and what was saved of those that could not be; `faulty`
    names the latter. `terms` are the names in each constraint, read or not, `curvature` those of uses in their order, and
    `target` is the metric whose value is waited for.
    """

    recipe: Recipe | None = None
    data: str | None = None
    network: Network | None = None
    has_network: bool = False
    device: str | None = None
    precision: str | None = None
    curvature: tuple[str | None, ...] = ()
    target: str | None = None
    epochs: int | None = None
    fixed: Mapping[str, Setting] = field(default_factory=dict)
    metric_names: Mapping[int, str] = field(default_factory=dict)
    optimized: tuple[str, ...] | None = None
    space: Mapping[str, Parameter] = field(default_factory=dict)
    faulty: frozenset[str] = frozenset()
    constraints: Mapping[int, Constraint] = field(default_factory=dict)
    terms: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    strategy: str | None = None
    has_trials: bool = True
    kind: str | None = None
    execution: str | None = None
    report: str | None = None


def cross_faults(parts: Parts) -> list[Fault]:
    """Return every fault between parts, and those of names that are valid only where a catalog has them."""
    faults = space_faults(parts.space, parts.faulty)
    faults += term_faults(parts.space, parts.terms, parts.faulty)
    faults += constraint_faults(parts.space, parts.constraints, parts.faulty)
    whole = parts.constraints.keys() == parts.terms.keys()
    the_plan = None if faults or parts.faulty or not whole else plan(parts.space, list(parts.constraints.values()))
    if parts.recipe is not None:
        faults += _objective_faults(parts.recipe, parts.data, parts.network)
        faults += _own_network_faults(parts.recipe, parts)
        faults += option_faults(parts.recipe, parts.fixed, parts.space, parts.faulty)
        faults += decay_faults(parts.recipe, parts.fixed, parts.space, parts.faulty)
        examples = next((data.examples for data in parts.recipe.data if data.name == parts.data), None)
        faults += warmup_faults(parts.fixed, parts.space, parts.faulty, epochs=parts.epochs, examples=examples)
        faults += _curvature_faults(parts.recipe, parts.curvature)
        faults += _target_faults(parts.recipe, parts)
    faults += _name_faults(parts)
    faults += objective_faults(parts.optimized, parts.strategy, parts.report)
    faults += _execution_faults(parts)
    faults += strategy_faults(parts.strategy, parts.space, parts.faulty)
    if parts.strategy == "grid":
        faults += _grid_faults(parts, the_plan)
    elif the_plan is not None:
        faults += witness_faults(the_plan)
    if parts.strategy not in {"grid", "pbt", None} and not parts.has_trials:
        faults.append(Fault("budget.trials", f"is required by the strategy {parts.strategy}"))
    return faults


def _objective_faults(recipe: Recipe, name: str | None, network: Network | None) -> list[Fault]:
    kind = next((kind for kind in recipe.networks if network is not None and kind.name == network.kind), None)
    data = next((data for data in recipe.data if data.name == name), None)
    faults = _width_faults(network, kind) if network is not None and kind is not None else []
    if isinstance(network, TransformerNetwork) and network.width % network.heads:
        message = f"must divide the width {network.width}, got {network.heads}"
        faults.append(Fault("objective.network.heads", message))
    if name is not None and data is None:
        faults += _unknown_data_faults(recipe, name)
    elif kind is not None and data is not None and data.form not in kind.takes:
        kinds = ", ".join(other.name for other in recipe.networks if data.form in other.takes)
        names = ", ".join(other.name for other in recipe.data if other.form in kind.takes)
        remedy = f"use {kinds}" + (f", or the data {names}" if names else "")
        message = f"{kind.name} needs {' or '.join(kind.takes)}, and {data.name} has {data.form}: {remedy}"
        faults.append(Fault("objective.network.kind", message))
    return faults


def _own_network_faults(recipe: Recipe, parts: Parts) -> list[Fault]:
    """Check what a recipe needs, or has no use for, that is its own network."""
    if recipe.networks:
        return [] if parts.has_network else [Fault("objective.network", "is required")]
    faults = []
    if parts.has_network:
        message = f"the {recipe.name} is its own network: leave it out, and set its options, such as width"
        faults.append(Fault("objective.network", message))
    if parts.device is not None and parts.device not in recipe.devices:
        message = f"the {recipe.name} runs on {', '.join(recipe.devices)} alone, got {parts.device!r}"
        faults.append(Fault("objective.device", message))
    if parts.precision not in {None, "float32"}:
        message = f"the {recipe.name} computes in float32 alone, got {parts.precision!r}: leave it out"
        faults.append(Fault("objective.precision", message))
    return faults


def _curvature_faults(recipe: Recipe, listed: tuple[str | None, ...]) -> list[Fault]:
    faults, valid = [], [use.name for use in recipe.curvature]
    for index, name in enumerate(listed):
        path = f"objective.curvature[{index}]"
        if name is not None and name in listed[:index]:
            faults.append(Fault(path, f"{name!r} is listed already"))
        if name not in valid and name in USES:
            which = f"valid are {', '.join(valid)}" if valid else "it has none: leave curvature out"
            faults.append(Fault(path, f"is not for the recipe {recipe.name}; {which}"))
    return faults


def _target_faults(recipe: Recipe, parts: Parts) -> list[Fault]:
    """Refuse a target for a metric that no epoch reports; which those of data in a file are is known to workers alone."""
    valid = [metric.name for metric in recipe.metrics_of(parts.data)]
    if parts.target is None or parts.target in valid:
        return []
    message = f"no epoch reports {parts.target!r}; valid are {', '.join(valid)}"
    return [Fault("objective.measured.target.metric", message)]


def _name_faults(parts: Parts) -> list[Fault]:
    if parts.recipe is None:
        return name_faults(parts.metric_names, None)
    late = parts.recipe.late
    reported = [metric.name for metric in parts.recipe.metrics_of(parts.data)]
    reported += [name for name, use in late.items() if use in parts.curvature]
    return name_faults(parts.metric_names, reported, late)


def _unknown_data_faults(recipe: Recipe, name: str) -> list[Fault]:
    """Refuse what is no name of a file, and what is likely a misspelt name of ours: we do not see workers' folders."""
    path, bundled = "objective.data", [data.name for data in recipe.data]
    valid = f"valid are {', '.join(bundled)}, and names of files in the workers' data folder"
    for other in RECIPES.values():
        if name in [data.name for data in other.data]:
            return [Fault(path, f"{name} is for the recipe {other.name}; {valid}")]
    if not _DATA_NAME.fullmatch(name):
        return [Fault(path, f"a name has letters, digits and _ . - alone, got {name!r}; {valid}")]
    close = get_close_matches(name, bundled, n=1, cutoff=_MISSPELT)
    if close:
        return [Fault(path, f"unknown data set {name!r}; did you mean {close[0]}? {valid}, if less like these")]
    return []


def _width_faults(network: Network, kind: NetworkKind) -> list[Fault]:
    if kind.layers is None:
        return []
    widths: tuple[int, ...] = getattr(network, kind.layers)
    path = f"objective.network.{kind.layers}"
    faults = [
        Fault(f"{path}[{index}]", f"must be at most {kind.widest}, got {width}")
        for index, width in enumerate(widths)
        if width > kind.widest
    ]
    if len(widths) > kind.most_layers:
        faults.append(Fault(path, f"must have at most {kind.most_layers} layers, got {len(widths)}"))
    return faults


def _execution_faults(parts: Parts) -> list[Fault]:
    stacks = parts.kind in {"recipe", None} and (parts.recipe is None or parts.recipe.stacks)
    if parts.execution != "population" or stacks:
        return []
    what = "is no recipe" if parts.recipe is None else "is too wide for that"
    message = (
        f"population trains many trials of a recipe's network together, and this objective {what}, so each of its "
        "trials runs by itself: leave execution out, or give single"
    )
    return [Fault("execution", message)]


def _grid_faults(parts: Parts, the_plan: Plan | None) -> list[Fault]:
    faults = [
        Fault(f"space.{name}", "is continuous, and a grid needs its points: give levels (a count or a list) or a step")
        for name, parameter in parts.space.items()
        if name not in parts.faulty
        and not isinstance(parameter, DerivedParameter)
        and grid_axis(as_searched(parameter)) is None
    ]
    return faults if faults or the_plan is None else _size_faults(the_plan)


def _size_faults(the_plan: Plan) -> list[Fault]:
    points = grid(the_plan)
    try:
        number = points.count()
    except Uncountable as entangled:
        return [Fault("space", f"the grid cannot be counted: {entangled}: give fewer levels, or search at random")]
    if number == 0:
        return [Fault("constraints", "no point of the grid satisfies them: loosen one, or give other levels")]
    if number > GRID_LIMIT:
        size = f"{number:,}" if points.exact else f"at least {number:,}"
        message = f"the grid has {size} points and may have {GRID_LIMIT:,}: give fewer levels, or search at random"
        return [Fault("space", message)]
    return []
