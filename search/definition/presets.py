"""Presets: a space that names optimizers is filled with what the catalog recommends to search for them.

`preset: adamw`, or a list of optimizers, stands beside the parameters of a space; that is for recipes alone, whose
hyperparameters the catalog knows. It brings

- `optimizer`, a choice among those named, unless the objective fixes that one optimizer;
- every option of theirs, and every common one, that has a recommended range and pays off within `budget.trials`. Of
  several optimizers it is the smallest range that holds all their ranges, under the condition that one that recommends
  it is chosen.

What the objective fixes or leaves without effect, and what the space gives itself, is not added; `name: null` leaves a recommendation out. The
definition that is stored has the parameters in place of the preset, so later catalogs do not change the study.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from optim.catalog import COMMON, TRAINERS, Option
from search.definition.hygiene import MOST_ENTRIES, join
from search.definition.idle import idle_options
from search.errors import Fault

PRESET = "preset"
PATH = join("space", PRESET)
OPTIMIZER = "optimizer"
# Two names for one thing: where one is given, the other is not recommended.
_OTHER_NAME: Mapping[str, str] = {"warmup": "warmup_steps", "warmup_steps": "warmup"}


@dataclass(frozen=True, slots=True)
class Expansion:
    """A space without its preset, the names that the preset `added`, and those left `unread` because of a fault."""

    space: Mapping[str, Any]
    added: frozenset[str] = frozenset()
    faults: list[Fault] = field(default_factory=list)
    unread: frozenset[str] = frozenset()


def has_preset(space: Mapping[str, Any]) -> bool:
    """Say whether a space names a preset; an object under that name is a parameter like any other."""
    return PRESET in space and not isinstance(space[PRESET], Mapping)


def refuse(space: Mapping[str, Any]) -> Expansion:
    """Return the space without the preset, which an objective that is no recipe cannot have."""
    message = "is known for recipes alone: name the parameters; one of this name is an object, {type: float, ...}"
    return Expansion(_own(space), faults=[Fault(PATH, message)])


def expand(space: Mapping[str, Any], *, fixed: Mapping[str, Any], trials: int, grid: bool) -> Expansion:
    """Put parameters in the place of the preset.

    `fixed` is what the objective sets, null being nothing; `trials` is the budget, 0 if unknown; `grid` says that the
    study needs points rather than ranges.
    """
    own, fixed = _own(space), _kept(fixed)
    chosen, faults = _chosen(space[PRESET])
    if not faults and OPTIMIZER in fixed and chosen != [fixed[OPTIMIZER]]:
        message = "the objective fixes the optimizer: drop it there, or name that one here and nothing else"
        faults = [Fault(PATH, message)]
    if faults:
        return Expansion(_kept(own), faults=faults, unread=frozenset({OPTIMIZER}) - fixed.keys())
    settled = (
        own.keys()
        | fixed.keys()
        | idle_options(fixed).keys()
        | {_OTHER_NAME.get(name, name) for name in _kept(own).keys() | fixed.keys()}
    )
    added = {name: found for name, found in _recommended(chosen, trials).items() if name not in settled}
    if OPTIMIZER not in fixed:
        added[OPTIMIZER] = {"type": "categorical", "choices": chosen}
    whole = _kept(own) | added
    ranges = sorted(added.keys() - {OPTIMIZER}) if grid else []
    faults = [
        *_entry_faults(own, chosen),
        *_size_faults(whole),
        *([Fault(PATH, _no_points(ranges))] if ranges else []),
    ]
    return Expansion(whole, added=frozenset(added), faults=faults, unread=frozenset(ranges))


def blame(fault: Fault, added: Collection[str]) -> Fault:
    """Return a fault of a parameter that a preset added as one of the preset; others as they are."""
    root, _, rest = fault.path.partition(".")
    name = rest.partition(".")[0]
    if root != "space" or name not in added:
        return fault
    return Fault(PATH, f"brings {rest}, which {fault.message}")


def _own(space: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in space.items() if name != PRESET}


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _chosen(preset: object) -> tuple[list[str], list[Fault]]:
    """Return the optimizers that a preset names, and what is wrong with it."""
    if not isinstance(preset, list):
        problem = _name_problem(preset, [])
        return ([], [Fault(PATH, problem)]) if problem else ([str(preset)], [])
    faults = [] if preset else [Fault(PATH, f"must not be empty; valid are {', '.join(TRAINERS)}")]
    for index, name in enumerate(preset):
        problem = _name_problem(name, preset[:index])
        if problem:
            faults.append(Fault(join(PATH, index), problem))
    return preset, faults


def _name_problem(name: object, before: list[Any]) -> str | None:
    if not isinstance(name, str):
        return f"must be the name of an optimizer, or a list of them; valid are {', '.join(TRAINERS)}"
    if name not in TRAINERS:
        return f"unknown optimizer {name!r}; valid are {', '.join(TRAINERS)}"
    return f"{name!r} is listed already" if name in before else None


def _entry_faults(own: Mapping[str, Any], chosen: list[str]) -> Iterator[Fault]:
    """Check the entries beside a preset: none chooses the optimizer, and null stands only for what can be dropped."""
    known = {option.name for name in chosen for option in TRAINERS[name].options} | COMMON.keys()
    for name, value in own.items():
        if name == OPTIMIZER:
            yield Fault(join("space", name), f"is chosen by the preset: name the optimizers in {PATH} alone")
        elif value is None and name not in known:
            message = f"is nothing that the preset brings, so null cannot drop it; it knows {', '.join(sorted(known))}"
            yield Fault(join("space", name), message)


def _size_faults(whole: Mapping[str, Any]) -> Iterator[Fault]:
    if not whole:
        yield Fault(PATH, "has nothing left to bring: all it recommends is fixed in the objective or dropped")
    if len(whole) > MOST_ENTRIES:
        yield Fault(PATH, f"makes {len(whole)} parameters of the space, which may have {MOST_ENTRIES}: drop some")


def _no_points(ranges: list[str]) -> str:
    return (
        f"brings ranges for {', '.join(ranges)}, and a grid needs points: give each levels of its own, drop it with "
        "null, or search with the strategy random or bayesian"
    )


def _recommended(chosen: list[str], trials: int) -> dict[str, dict[str, Any]]:
    """Return what to search for these optimizers in that many trials: parameters by name, as one would post them."""
    found = {name: _parameter([option]) for name, option in COMMON.items() if _pays_off(option, trials)}
    held = {name: [o for o in TRAINERS[name].options if _pays_off(o, trials)] for name in chosen}
    for option in (option for options in held.values() for option in options):
        if option.name in found:
            continue
        same = {name: o for name, options in held.items() for o in options if o.name == option.name}
        found[option.name] = _parameter(list(same.values()))
        if len(same) < len(chosen):
            found[option.name]["when"] = {OPTIMIZER: list(same)}
    return found


def _pays_off(option: Option, trials: int) -> bool:
    return option.search_low is not None and option.search_from <= trials


def _parameter(options: list[Option]) -> dict[str, Any]:
    """Return the parameter whose range holds the recommended ranges of options of one name."""
    low = min(option.search_low for option in options if option.search_low is not None)
    high = max(option.search_high for option in options if option.search_high is not None)
    parameter = {"type": options[0].kind, "low": low, "high": high, "scale": _scale(options, low, high)}
    return parameter | ({"low": int(low), "high": int(high)} if options[0].kind == "int" else {})


def _scale(options: list[Option], low: float, high: float) -> str:
    """The scale that resolves most among those recommended, where the whole range allows it."""
    wanted = {option.scale for option in options}
    if "reverse_log" in wanted and high < 1:
        return "reverse_log"
    return "log" if "log" in wanted and low > 0 else "linear"
