"""The points of a table: the levels of each parameter of a study's space, combined where its conditions hold."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

Point: TypeAlias = dict[str, Any]

# Where a value lies on its parameter's scale: levels that are equally far apart there are evenly spaced.
SCALES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {"linear": float, "log": math.log, "reverse_log": lambda value: math.log1p(-value)}
)


@dataclass(frozen=True, slots=True)
class Axis:
    """The levels of one parameter. It has a value where each parent named in `when` has one of those listed.

    `place` says where a value lies, None of choices without order.
    """

    name: str
    levels: tuple[Any, ...]
    place: Callable[[float], float] | None
    when: Mapping[str, tuple[Any, ...]]

    @classmethod
    def of(cls, name: str, parameter: Mapping[str, Any]) -> "Axis":
        """Read a parameter of a study's space. Raise KeyError for a number without a list of levels."""
        choices = parameter["type"] == "categorical"
        place = None if choices else SCALES[parameter.get("scale", "linear")]
        when = {parent: tuple(values) for parent, values in parameter.get("when", {}).items()}
        return cls(name, tuple(parameter["choices" if choices else "levels"]), place, when)

    def applies(self, point: Mapping[str, Any]) -> bool:
        """Say whether it has a value beside those of its parents."""
        return all(point.get(parent) in values for parent, values in self.when.items())

    def extend(self, point: Point) -> list[Point]:
        """Return the point with each of the levels, or as it is where there is none."""
        return [point | {self.name: level} for level in self.levels] if self.applies(point) else [point]

    def nearest(self, value: Any) -> Any:  # noqa: ANN401 - a number, a text or a switch
        """Return the level next to the value, on its scale. Raise ValueError for a choice that is none of them."""
        if self.place is not None:
            here = self.place(value)
            return min(self.levels, key=lambda level: abs(self.place(level) - here))  # type: ignore[misc]
        if value not in self.levels:
            raise ValueError(f"{self.name}: {value!r} was not recorded; valid: {', '.join(map(str, self.levels))}")
        return value


@dataclass(frozen=True, slots=True)
class Lattice:
    """All points over some axes, parents before children, the last axis running fastest."""

    axes: tuple[Axis, ...]
    points: tuple[Point, ...] = field(init=False)
    _rows: Mapping[tuple[Any, ...], int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Combine the axes."""
        points: list[Point] = [{}]
        for axis in self.axes:
            points = [wider for point in points for wider in axis.extend(point)]
        object.__setattr__(self, "points", tuple(points))
        object.__setattr__(self, "_rows", {tuple(point.items()): row for row, point in enumerate(points)})

    @classmethod
    def of(cls, space: Mapping[str, Mapping[str, Any]]) -> "Lattice":
        """Return the lattice over the levels of a study's space, which names parents before their children."""
        return cls(tuple(Axis.of(name, parameter) for name, parameter in space.items()))

    def nearest(self, params: Mapping[str, Any]) -> Point:
        """Return the point next to parameters; those whose condition does not hold, and others, are passed over.

        Raise ValueError where one is missing or has a value that no level is near to.
        """
        found: Point = {}
        for axis in self.axes:
            if axis.applies(found):
                if axis.name not in params:
                    raise ValueError(f"{axis.name} is missing; valid: {', '.join(map(str, axis.levels))}")
                found[axis.name] = axis.nearest(params[axis.name])
        return found

    def row(self, params: Mapping[str, Any]) -> int:
        """Return the number of the point next to parameters."""
        return self._rows[tuple(self.nearest(params).items())]
