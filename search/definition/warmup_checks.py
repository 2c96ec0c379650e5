"""Check that a study says once how long something takes, and that its training is longer than its warm-up."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from optim.catalog import COMMON, SHARES
from search.errors import Fault
from search.space.derived import bounds
from search.space.nodes import Space
from search.space.parameters import CategoricalParameter, DerivedParameter, FixedParameter, Setting, is_whole

_STEPS = "warmup_steps"
# What counts steps, and what says the same as a share of all: the message, and the other name.
_TWICE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {_STEPS: ("says how long the warm-up is", "warmup")}
    | {steps: ("says how many steps it takes", share) for steps, share in SHARES.items()}
)
_BATCHES = ("batch_mode", "batch_size")


def warmup_faults(
    fixed: Mapping[str, Setting], space: Space, faulty: frozenset[str], *, epochs: int | None, examples: int | None
) -> list[Fault]:
    """Return what is wrong with lengths, given in steps or as shares; `examples` are those trained on, None where that is unknown.

    The steps compared are the fewest that any configuration trains: with the largest batch, or the whole data as one.
    """
    given = {name for name in fixed.keys() | space.keys() | faulty if not _is_nothing(name, fixed, space)}
    faults = [
        Fault(
            f"{'objective' if steps in fixed else 'space'}.{steps}", f"{says}, and so does {share}: drop one of the two"
        )
        for steps, (says, share) in _TWICE.items()
        if {steps, share} <= given
    ]
    if epochs is not None and examples is not None and not faulty & {_STEPS, *_BATCHES}:
        faults += _length_faults(fixed, space, epochs, examples)
    return faults


def _is_nothing(name: str, fixed: Mapping[str, Setting], space: Space) -> bool:
    """Say whether a length is fixed to 0, which leaves it to its other name."""
    parameter = space.get(name)
    if parameter is not None:
        return isinstance(parameter, FixedParameter) and parameter.value == 0
    return fixed.get(name) == 0


def _length_faults(fixed: Mapping[str, Setting], space: Space, epochs: int, examples: int) -> list[Fault]:
    batch = _largest_batch(fixed, space, examples)
    if batch is None:
        return []
    steps = epochs * math.ceil(examples / batch)
    return [
        Fault(path, f"must be below the {steps} steps of {epochs} epochs with batches of {batch}, got {value}")
        for path, value in _values(_STEPS, fixed, space)
        if isinstance(value, int) and value >= steps and path
    ]


def _largest_batch(fixed: Mapping[str, Setting], space: Space, examples: int) -> int | None:
    """Return the most examples that a step can have; None if that cannot be told, since a value is wrong."""
    modes, sizes = ([value for _, value in _values(name, fixed, space)] for name in _BATCHES)
    if "full" in modes:
        return examples
    if "mini" not in modes:
        return 1
    whole = [size for size in sizes if isinstance(size, int) and is_whole(size) and size >= 1]
    return min(max(whole), examples) if len(whole) == len(sizes) else None


def _values(name: str, fixed: Mapping[str, Setting], space: Space) -> list[tuple[str, Setting]]:
    """List the values, or the ends of the range, that an option can have, each with its field path; a default has none."""
    if name in fixed:
        return [(f"objective.{name}", fixed[name])]
    parameter = space.get(name)
    default: list[tuple[str, Setting]] = [("", COMMON[name].default)]
    if parameter is None:
        return default
    path = f"space.{name}"
    if isinstance(parameter, CategoricalParameter):
        found: list[tuple[str, Setting]] = [
            (f"{path}.choices[{i}]", choice) for i, choice in enumerate(parameter.choices)
        ]
    elif isinstance(parameter, FixedParameter):
        found = [(f"{path}.value", parameter.value)]
    elif isinstance(parameter, DerivedParameter):
        found = [(path, end) for end in bounds(space, name) or ()]
    else:
        found = [(f"{path}.low", parameter.low), (f"{path}.high", parameter.high)]
    return found + (default if parameter.when else [])
