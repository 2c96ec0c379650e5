"""The parameters of a group that a rule steps together, and their state between steps as torch's optimizers keep it.

A rule's state holds lists over the parameters, and tensors that are of all of them, such as the step count. A
torch.optim.Optimizer keeps a dict for each parameter. Parameters whose counts are one and the same tensor form a
cohort: they took every step together. One that sat out a step, having no gradient, goes on by itself.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from .transform import Rule


@dataclass(slots=True)
class Cohort:
    """Parameters with the fields of their common state by name: lists over the parameters, and tensors of all.

    A fresh one has a state that was never stored.
    """

    params: list[Tensor]
    fields: dict[str, Any]
    template: Any
    fresh: bool = False

    def state(self) -> Any:  # noqa: ANN401 - the state of any rule
        """Return the state as the rule knows it."""
        return _filled(self.template, self.fields)

    def take(self, state: Any) -> None:  # noqa: ANN401 - the state of any rule
        self.fields = dict(_fields(state))

    def store(self, states: MutableMapping[Tensor, Any]) -> None:
        """Hand each parameter its part of the fields."""
        for index, param in enumerate(self.params if self.fields else ()):
            states[param].update({
                name: value[index] if isinstance(value, list) else value for name, value in self.fields.items()
            })  # fmt: skip

    def store_counts(self, states: MutableMapping[Tensor, Any]) -> None:
        """Hand each parameter what is of all of them, after a step that changed the rest in place."""
        if self.fresh:
            self.store(states)
            return
        counts = {name: value for name, value in self.fields.items() if not isinstance(value, list)}
        for param in self.params if counts else ():
            states[param].update(counts)


def cohorts(rule: Rule[Any], params: Sequence[Tensor], states: MutableMapping[Tensor, Any]) -> list[Cohort]:
    """Split parameters into those that step together; the state of those that have none begins here."""
    template = _template(rule)
    kinds = dict(_fields(template))
    if not kinds:  # a rule without a state steps all together
        return [Cohort(list(params), {}, template)] if params else []
    held = [param for param in params if states.get(param)]
    fresh = [param for param in params if not states.get(param)]
    found = [Cohort(members, _gathered(kinds, members, states), template) for members in _met(rule, held, states)]
    if fresh:
        found.append(Cohort(fresh, dict(_fields(rule.init(fresh))), template, fresh=True))
    return found


def _met(rule: Rule[Any], params: Sequence[Tensor], states: MutableMapping[Tensor, Any]) -> list[list[Tensor]]:
    """Return the parameters by their counts: those of one tensor, and those whose tensors have come to be equal."""
    names = list(_counts(rule))
    together: dict[tuple[int, ...], list[Tensor]] = {}
    for param in params:
        together.setdefault(tuple(id(states[param][name]) for name in names), []).append(param)
    if len(together) == 1:
        return list(together.values())
    equal: dict[tuple[str, ...], list[Tensor]] = {}
    for members in together.values():
        equal.setdefault(_written(states[members[0]][name] for name in names), []).extend(members)
    return list(equal.values())


def _written(counts: Iterable[Tensor]) -> tuple[str, ...]:
    """Return the values as text, because values that are not numbers equal nothing."""
    return tuple(str(value.tolist()) for value in counts)


@cache
def _template(rule: Rule[Any]) -> Any:  # noqa: ANN401 - the state of any rule
    """Return a state of the rule over no parameters, for its structure alone."""
    return rule.init([])


def check_fields(rule: Rule[Any], name: str, saved: Mapping[str, Any]) -> None:
    """Raise ValueError if what a state_dict holds of a parameter is not the state of this rule."""
    wanted = {field for field, _ in _fields(_template(rule))}
    for index, held in saved["state"].items():
        if held and set(held) != wanted:
            raise ValueError(
                f"parameter {index} has a state of {', '.join(sorted(held))}, where {name} keeps "
                f"{', '.join(sorted(wanted)) or 'none'}: it was saved from another optimizer"
            )


def keep_counts(
    rule: Rule[Any],
    states: MutableMapping[Tensor, Any],
    groups: Iterable[dict[str, Any]],
    saved: Mapping[str, Any],
) -> None:
    """Take tensors that are of all parameters as they were saved; torch has cast them to each parameter's dtype."""
    counts = _counts(rule)
    indices = (index for group in saved["param_groups"] for index in group["params"])
    params = (param for group in groups for param in group["params"])
    for index, param in zip(indices, params, strict=True):
        if states.get(param):
            held = saved["state"][index]
            states[param].update({name: held[name].to(like, copy=True) for name, like in counts.items()})


def share_counts(rule: Rule[Any], states: MutableMapping[Tensor, Any], groups: Iterable[dict[str, Any]]) -> None:
    """Make tensors that are of all parameters of a group one again where they are equal, after each was copied."""
    names = _counts(rule)
    for group in groups:
        seen: dict[tuple[str, ...], dict[str, Tensor]] = {}
        for param in group["params"]:
            if held := states.get(param):
                counts = {name: held[name] for name in names}
                held.update(seen.setdefault(_written(counts.values()), counts))


@cache
def _counts(rule: Rule[Any]) -> dict[str, Tensor]:
    """Return the tensors of a new state that are of all parameters, by name."""
    return {name: value for name, value in _fields(_template(rule)) if not isinstance(value, list)}


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
