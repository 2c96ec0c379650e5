"""The parameters of a group that a rule steps together, and their state between steps as torch's optimizers keep it.

A rule's state holds lists over the parameters, and tensors that are of all of them, such as the step count. A
torch.optim.Optimizer keeps a dict for each parameter. Parameters whose counts are one and the same tensor form a
cohort: they took every step together. One that sat out a step, having no gradient, goes on by itself.
"""

from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .transform import Rule


@dataclass(slots=True)
class Cohort:
    """Parameters with the fields of their common state by name: lists over the parameters, and tensors of all."""

    params: list[Tensor]
    fields: dict[str, Any]
    template: Any

    def state(self) -> Any:  # noqa: ANN401 - the state of any rule
        """Return the state as the rule knows it."""
        return _filled(self.template, self.fields)

    def take(self, state: Any) -> None:  # noqa: ANN401 - the state of any rule
        self.fields = dict(_fields(state))

    def store(self, states: MutableMapping[Tensor, Any]) -> None:
        """Hand each parameter its part of the fields."""
        for index, param in enumerate(self.params):
            states[param].update({
                name: value[index] if isinstance(value, list) else value for name, value in self.fields.items()
            })  # fmt: skip


def cohorts(rule: Rule[Any], params: Sequence[Tensor], states: MutableMapping[Tensor, Any]) -> list[Cohort]:
    """Split parameters into those that step together; the state of those that have none begins here."""
    template = rule.init([])
    kinds = dict(_fields(template))
    together: dict[tuple[int, ...], list[Tensor]] = {}
    fresh = []
    for param in params:
        held = states.get(param)
        if held:
            key = tuple(id(held[name]) for name, value in kinds.items() if not isinstance(value, list))
            together.setdefault(key, []).append(param)
        else:
            fresh.append(param)
    found = [Cohort(members, _gathered(kinds, members, states), template) for members in together.values()]
    if fresh:
        found.append(Cohort(fresh, dict(_fields(rule.init(fresh))), template))
    return found


def share_counts(rule: Rule[Any], states: MutableMapping[Tensor, Any], groups: Iterable[dict[str, Any]]) -> None:
    """Make tensors that are of all parameters of a group one again where they are equal, after each was copied."""
    names = [name for name, value in _fields(rule.init([])) if not isinstance(value, list)]
    for group in groups:
        seen: dict[tuple[str, ...], dict[str, Tensor]] = {}
        for param in group["params"]:
            if held := states.get(param):
                counts = {name: held[name] for name in names}
                # As text, because values that are not numbers equal nothing.
                key = tuple(str(value.tolist()) for value in counts.values())
                held.update(seen.setdefault(key, counts))


def _gathered(kinds: dict[str, Any], params: list[Tensor], states: MutableMapping[Tensor, Any]) -> dict[str, Any]:
    return {
        name: [states[param][name] for param in params] if isinstance(value, list) else states[params[0]][name]
        for name, value in kinds.items()
    }


def _fields(state: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - the state of any rule
    """Return the fields of a state, through the links of a chain."""
    if hasattr(state, "_fields"):
        yield from zip(state._fields, state, strict=True)
        return
    for link in state:
        yield from _fields(link)


def _filled(template: Any, fields: dict[str, Any]) -> Any:  # noqa: ANN401 - the state of any rule
    if hasattr(template, "_fields"):
        return type(template)(*(fields[name] for name in template._fields))
    return tuple(_filled(link, fields) for link in template)
