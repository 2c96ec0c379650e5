"""Read a study definition: the one way from a JSON value to a `StudyDefinition`.

`parse_study` finds every fault at once, in four passes that do not hide each other's findings: what no stored value may
hold (`hygiene`), the shape of each part (`structure`), each part's contradictions with itself (`parameters`), and what the
parts say about each other and about the catalogs (`checks`). A preset in the space becomes parameters before the space is
read (`presets`).

Decisions where a definition leaves room:
- `low == high` is allowed; it fixes a value, for instance under a condition.
- A grid's budget is its number of points; a smaller `budget.trials` takes the first points in the seed's order, a larger
  one is lowered to that number.
- A verdict's replicates come on top of a grid's points: together they are its budget.
- `start_from_default` absent is true where a parameter has a default, and false for a grid.
- `search.seed` stays null here; whoever creates the study draws one and records it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from search.definition import presets
from search.definition.checks import Parts, cross_faults
from search.definition.examples import EXAMPLE_STUDIES
from search.definition.focus import advised, held_faults
from search.definition.hygiene import beneath, clean, join
from search.definition.kinds import FIXABLE, RecipeObjective, objective_kind
from search.definition.limits import Budget
from search.definition.lineages import lineage_faults, space_faults
from search.definition.metrics import ROLES
from search.definition.objectives import RECIPES
from search.definition.planning import plan_of
from search.definition.pruning_checks import Context, pruning_faults, resolved, stopping_faults
from search.definition.schema import MOST_CONSTRAINTS, StudyDefinition
from search.definition.searches import STRATEGIES, BayesianSearch, GridSearch, PbtSearch, Search
from search.definition.starts import start_faults
from search.definition.structure import METRIC, NETWORK, SHAPES, read, read_constraint, read_parameter, shape_of
from search.definition.uses import use_name
from search.definition.verdicts import Verdict, verdict_faults
from search.errors import Fault, InvalidStudy
from search.space.parameters import is_whole
from search.space.plan import plan
from search.space.points import count_grid
from search.space.validation import complete_point

__all__ = ["EXAMPLE_STUDIES", "StudyDefinition", "parse_study"]

_MOST_FAULTS = 1000


def parse_study(raw: object) -> StudyDefinition:
    """Return the definition with its defaults filled in. Raise InvalidStudy with every fault, by field path."""
    value, unclean = clean(raw)
    if not isinstance(value, Mapping):
        raise InvalidStudy(unclean or [Fault("", "a study must be an object")])
    reader = _Reader(value)
    roots = frozenset(fault.path for fault in unclean)
    faults = unclean + [fault for fault in reader.faults() if not beneath(fault.path, roots)]
    if faults:
        raise InvalidStudy(list(dict.fromkeys(faults))[:_MOST_FAULTS])
    definition = StudyDefinition(**reader.parts)
    search = definition.search
    if isinstance(search, BayesianSearch) and (faults := held_faults(definition, search.held or ())):
        raise InvalidStudy(faults)
    return _filled(definition)


def _filled(definition: StudyDefinition) -> StudyDefinition:
    pruning = resolved(definition.pruning, definition.objective.last_step)
    update: dict[str, Any] = {
        "budget": _budget(definition),
        "pruning": pruning,
        "start_from_default": _starts_from_default(definition),
        "verdict": _verdict(definition),
        "search": _search(definition),
    }
    if isinstance(definition.search, PbtSearch) and definition.parallelism is None:
        update["parallelism"] = definition.search.population
    return definition.model_copy(update=update)


def _search(definition: StudyDefinition) -> Search:
    search = definition.search
    if not isinstance(search, BayesianSearch) or search.held is not None:
        return search
    return search.model_copy(update={"held": advised(definition)})


def _budget(definition: StudyDefinition) -> Budget:
    if isinstance(definition.search, PbtSearch) and definition.budget.trials is None:
        generations = definition.search.generations(definition.objective.last_step) or 0
        return definition.budget.model_copy(update={"trials": definition.search.population * generations})
    if not isinstance(definition.search, GridSearch):
        return definition.budget
    most, asked = count_grid(plan_of(definition)) + definition.reserved, definition.budget.trials
    return definition.budget.model_copy(update={"trials": most if asked is None else min(asked, most)})


def _starts_from_default(definition: StudyDefinition) -> bool:
    if isinstance(definition.search, GridSearch | PbtSearch):
        return False
    if definition.start_from_default is not None:
        return definition.start_from_default
    return any(node.parameter.default is not None for node in plan_of(definition).nodes)


def _verdict(definition: StudyDefinition) -> Verdict | None:
    """Give the baseline what is fixed and what is derived."""
    verdict = definition.verdict
    if verdict is None or verdict.baseline_params is None:
        return verdict
    point = complete_point(plan_of(definition), verdict.baseline_params)
    return verdict.model_copy(update={"baseline": {"params": point}})


class _Reader:
    """Reads the parts of one definition, and keeps those that could be read."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        self.parts: dict[str, Any] = {}
        self._faults: list[Fault] = []
        self._recommended: frozenset[str] = frozenset()  # names in the space that a preset has brought

    def faults(self) -> list[Fault]:
        valid = StudyDefinition.model_fields
        for name in self.raw:
            if name not in valid:
                self._faults.append(Fault(join("", name), f"there is no such field; valid are {', '.join(valid)}"))
        for name, field in valid.items():
            if field.is_required() and name not in self.raw:
                self._faults.append(Fault(name, "is required"))
        for name in (name for name in SHAPES if name in self.raw):
            reading = read(shape_of(name, self.raw[name]), self.raw[name], name)
            self._faults += reading.faults
            self.parts[name] = reading.value
        cross = cross_faults(
            Parts(
                **self._space(),
                **self._constraints(),
                **self._metrics(),
                **self._objective(),
                **self._search(),
                kind=objective_kind(self.raw.get("objective")),
                execution=_text(self.raw, "execution"),
                report=_text(self.raw, "report"),
            )
        )
        cross += self._ending_faults() + self._lineage_faults()
        blamed = [presets.blame(fault, self._recommended) for fault in cross]
        return self._faults + blamed + self._start_faults(cross)

    def _start_faults(self, cross: Sequence[Fault]) -> list[Fault]:
        """Check what the study starts from and what it is compared with; points only in a space without a fault."""
        grid, optimized = _text(self.raw.get("search"), "strategy") == "grid", self._optimized()
        faults = start_faults(self.parts, grid=grid, optimized=optimized)
        if (verdict := self.parts.get("verdict")) is None:
            return faults
        sound = not any(fault.path.startswith(("space", "constraints")) for fault in (*self._faults, *cross))
        space = self.parts["space"] if sound and self.parts.get("space") else None
        the_plan = plan(space, self.parts.get("constraints") or ()) if space is not None else None
        return faults + verdict_faults(verdict, the_plan, _whole(self.raw.get("budget"), "trials"), optimized)

    def _ending_faults(self) -> list[Fault]:
        """Say what pruning and stopping, where they could be read, contradict."""
        context = Context(
            objective=self.parts.get("objective"),
            metrics=self._reported(),
            strategy=_text(self.raw.get("search"), "strategy"),
            model=_text(self.raw.get("search"), "model"),
            optimized=self._optimized(),
            late=self._late(),
        )
        pruning, stopping = self.parts.get("pruning"), self.parts.get("stopping")
        faults = pruning_faults(pruning, context) if pruning is not None else []
        return faults + (stopping_faults(stopping, context) if stopping is not None else [])

    def _lineage_faults(self) -> list[Fault]:
        search, objective = self.parts.get("search"), self.parts.get("objective")
        if not isinstance(search, PbtSearch):
            return []
        faults = lineage_faults(search, self.parts, pruned=isinstance(self.raw.get("pruning"), Mapping))
        if any(fault.path.startswith("space") for fault in self._faults):
            return faults
        return faults + space_faults(search, objective, self.parts.get("space", {}))

    def _optimized(self) -> int | None:
        raw = self.raw.get("metrics")
        names = _optimized(raw) if isinstance(raw, list) else None
        return None if names is None else len(names)

    def _late(self) -> dict[str, bool]:
        """Name the metrics that trials report with their last step alone, and say of each whether it is optimized."""
        recipe = RECIPES.get(_text(self.raw.get("objective"), "recipe") or "")
        metrics = (metric for metric in self.parts.get("metrics", ()) if metric is not None)
        optimized = {metric.name for metric in metrics if metric.role == "optimize"}
        return {name: name in optimized for name in recipe.late} if recipe is not None else {}

    def _reported(self) -> set[str] | None:
        """Name what trials report, as far as that is known; None where not every metric could be read."""
        metrics = self.parts.get("metrics", (None,))
        if None in metrics:
            return None
        recipe = RECIPES.get(_text(self.raw.get("objective"), "recipe") or "")
        return {metric.name for metric in (*metrics, *(recipe.metrics if recipe is not None else ()))}

    def _space(self) -> dict[str, Any]:
        raw = self.raw.get("space", {})
        if not isinstance(raw, Mapping):
            self._faults.append(Fault("space", "must be an object: parameters by name"))
            return {}
        if not raw and "space" in self.raw:
            self._faults.append(Fault("space", "must name at least one parameter"))
        expansion = self._expansion(raw)
        whole, self._recommended = expansion.space, expansion.added
        readings = {name: read_parameter(whole[name], join("space", name)) for name in sorted(whole)}
        self._faults += [*expansion.faults, *(fault for reading in readings.values() for fault in reading.faults)]
        space = {name: reading.value for name, reading in readings.items() if reading.value is not None}
        self.parts["space"] = space
        faulty = frozenset(name for name, reading in readings.items() if reading.faults)
        return {"space": space, "faulty": faulty | expansion.unread}

    def _expansion(self, raw: Mapping[str, Any]) -> presets.Expansion:
        objective = self.raw.get("objective")
        if not presets.has_preset(raw):
            return presets.Expansion(raw)
        if objective_kind(objective) not in {"recipe", None}:
            return presets.refuse(raw)
        return presets.expand(
            raw,
            fixed=objective if isinstance(objective, Mapping) else {},
            trials=_whole(self.raw.get("budget"), "trials") or 0,
            grid=_text(self.raw.get("search"), "strategy") == "grid",
        )

    def _constraints(self) -> dict[str, Any]:
        raw = self.raw.get("constraints", [])
        if not isinstance(raw, list):
            self._faults.append(Fault("constraints", "must be a list"))
            return {}
        if len(raw) > MOST_CONSTRAINTS:
            self._faults.append(Fault("constraints", f"must have at most {MOST_CONSTRAINTS} items, got {len(raw)}"))
        readings = [read_constraint(item, join("constraints", index)) for index, item in enumerate(raw)]
        self._faults += [fault for reading in readings for fault in reading.faults]
        self.parts["constraints"] = tuple(reading.value for reading in readings)
        terms = {index: item.get("terms") for index, item in enumerate(raw) if isinstance(item, Mapping)}
        return {
            "constraints": {i: reading.value for i, reading in enumerate(readings) if reading.value is not None},
            "terms": {index: tuple(named) for index, named in terms.items() if isinstance(named, Mapping)},
        }

    def _metrics(self) -> dict[str, Any]:
        raw = self.raw.get("metrics", [])
        if not isinstance(raw, list):
            self._faults.append(Fault("metrics", "must be a list"))
            return {}
        if not raw and "metrics" in self.raw:
            self._faults.append(Fault("metrics", "must not be empty"))
        readings = [read(METRIC, item, join("metrics", index)) for index, item in enumerate(raw)]
        self._faults += [fault for reading in readings for fault in reading.faults]
        metrics = tuple(reading.value for reading in readings)
        self.parts["metrics"] = metrics
        given = {index: _text(item, "name") for index, item in enumerate(raw)}
        return {"metric_names": {index: name for index, name in given.items() if name}, "optimized": _optimized(raw)}

    def _objective(self) -> dict[str, Any]:
        """Take what the objective says field by field, so that one bad field does not hide the others' faults."""
        raw = self.raw.get("objective")
        recipe = RECIPES.get(_text(raw, "recipe") or "")
        if recipe is None or objective_kind(raw) != "recipe" or not isinstance(raw, Mapping):
            return {}
        bad = frozenset(fault.path for fault in self._faults)
        named = RecipeObjective.model_fields.keys() - FIXABLE
        return {
            "recipe": recipe,
            "data": _text(raw, "data"),
            "epochs": None if "objective.epochs" in bad else _whole(raw, "epochs"),
            "network": read(NETWORK, raw.get("network"), "").value,
            "has_network": raw.get("network") is not None,
            "device": _text(raw, "device"),
            "precision": _text(raw, "precision"),
            "curvature": _uses(raw.get("curvature")),
            "target": _text(_inside(raw.get("measured"), "target"), "metric"),
            "fixed": {
                name: value
                for name, value in raw.items()
                if name not in named and value is not None and join("objective", name) not in bad
            },
        }

    def _search(self) -> dict[str, Any]:
        strategy = _text(self.raw.get("search"), "strategy")
        budget = self.raw.get("budget", {})
        return {
            "strategy": strategy if strategy in STRATEGIES else None,
            "has_trials": not isinstance(budget, Mapping) or budget.get("trials") is not None,
        }


def _optimized(raw: list[Any]) -> tuple[str, ...] | None:
    """Name the metrics that are to be optimized, also those with other faults; None where a role cannot be read."""
    roles = [item.get("role", "optimize") if isinstance(item, Mapping) else None for item in raw]
    if not roles or not all(isinstance(role, str) and role in ROLES for role in roles):
        return None
    return tuple(_text(item, "name") or "?" for item, role in zip(raw, roles, strict=True) if role == "optimize")


def _uses(raw: object) -> tuple[str | None, ...]:
    return tuple(use_name(item) for item in raw) if isinstance(raw, list) else ()


def _whole(raw: object, name: str) -> int | None:
    value = raw.get(name) if isinstance(raw, Mapping) else None
    return value if is_whole(value) else None


def _inside(raw: object, name: str) -> object:
    return raw.get(name) if isinstance(raw, Mapping) else None


def _text(raw: object, name: str) -> str | None:
    value = _inside(raw, name)
    return value if isinstance(value, str) else None
