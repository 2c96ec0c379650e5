"""Check that a study says once how long it warms up, and that its training is longer than that."""

import math
from collections.abc import Mapping

from optim.catalog import COMMON
from search.errors import Fault
from search.space.derived import bounds
from search.space.nodes import Space
from search.space.parameters import CategoricalParameter, DerivedParameter, FixedParameter, Setting, is_whole

_STEPS, _SHARE = "warmup_steps", "warmup"
_BATCHES = ("batch_mode", "batch_size")


def warmup_faults(
    fixed: Mapping[str, Setting], space: Space, faulty: frozenset[str], *, epochs: int | None, examples: int | None
) -> list[Fault]:
    """Return what is wrong with the warm-up's length; `examples` are those trained on, None where that is unknown.

    The steps compared are the fewest that any configuration trains: with the largest batch, or the whole data as one.
    """
    given = {name for name in (_STEPS, _SHARE) if name in fixed or name in space or name in faulty}
    faults = []
    if given == {_STEPS, _SHARE}:
        path = f"{'objective' if _STEPS in fixed else 'space'}.{_STEPS}"
        faults.append(Fault(path, f"says how long the warm-up is, and so does {_SHARE}: drop one of the two"))
    if epochs is not None and examples is not None and not faulty & {_STEPS, *_BATCHES}:
        faults += _length_faults(fixed, space, epochs, examples)
    return faults


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
