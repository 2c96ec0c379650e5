"""What pruning and stopping ask of the rest of a definition."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from search.definition.kinds import Objective
from search.definition.limits import RULES, Stopping
from search.definition.metric_checks import LEAVE_ONE
from search.definition.prunings import (
    COMPARING,
    HyperbandPruning,
    PatiencePruning,
    Pruning,
    ThresholdPruning,
    comparing,
    promotes,
)
from search.errors import Fault

# Strategies that expect nothing of what they suggest.
_WITHOUT_MODEL = frozenset({"grid", "random", "sobol", "halton", "cmaes", "nsga2", "pbt"})
_SAY_LAST = "say with objective.steps which step is a trial's last"


@dataclass(frozen=True, slots=True)
class Context:
    """What could be read of the rest: None is what could not. `metrics` are the names that trials may report.

    `late` are those that they report with their last step alone, and whether each is optimized.
    """

    objective: Objective | None
    metrics: Collection[str] | None
    strategy: str | None
    optimized: int | None = None  # how many metrics are
    model: str | None = None  # of a bayesian search
    late: Mapping[str, bool] = field(default_factory=dict)


def pruning_faults(pruning: Pruning, context: Context) -> list[Fault]:
    """Return what contradicts the objective and the metrics."""
    faults = _several_faults(pruning) if (context.optimized or 1) > 1 else []
    faults += _late_faults(pruning, context.late)
    if isinstance(pruning, ThresholdPruning):
        return faults + _metric_faults(pruning, context)
    # One reason against promotion is enough.
    if context.objective is None or (faults and promotes(pruning)):
        return faults
    return faults + _step_faults(pruning, context.objective)


def _several_faults(pruning: Pruning) -> list[Fault]:
    """Refuse what looks at one metric, where several are optimized."""
    if isinstance(pruning, ThresholdPruning) and pruning.metric is None:
        message = f"is required where several metrics are optimized: name the one that has bounds, {LEAVE_ONE}"
        return [Fault("pruning.metric", message)]
    if isinstance(pruning, PatiencePruning):
        message = (
            f"patience looks at one optimized metric, and several are given: use {', '.join(COMPARING)}, {LEAVE_ONE}"
        )
        return [Fault("pruning.kind", message)]
    if promotes(pruning):
        message = f"promote ranks by one optimized metric, and several are given: use stop, {LEAVE_ONE}"
        return [Fault("pruning.mode", message)]
    return []


def _late_faults(pruning: Pruning, late: Mapping[str, bool]) -> list[Fault]:
    """Refuse to compare trials under way by what they report when they are done."""
    named = pruning.metric if isinstance(pruning, ThresholdPruning) else None
    looked = [named] if named is not None else [name for name, optimized in late.items() if optimized]
    missing = ", ".join(name for name in looked if name in late)
    message = (
        f"looks at trials before their last step, which alone has {missing}: leave it out, or let it look at a metric of "
        "every step"
    )
    return [Fault("pruning" if named is None else "pruning.metric", message)] if missing else []


def _step_faults(pruning: Pruning, objective: Objective) -> list[Fault]:
    last = objective.last_step
    if promotes(pruning) and last is None:
        message = f"promote needs to know when a trial is done, lest it waits for ever: {_SAY_LAST}, or use stop"
        return [Fault("pruning.mode", message)]
    rule, path = comparing(pruning), "pruning" if comparing(pruning) is pruning else "pruning.rule"
    return _hyperband_faults(rule, path, last) if isinstance(rule, HyperbandPruning) else []


def _metric_faults(pruning: ThresholdPruning, context: Context) -> list[Fault]:
    if pruning.metric is None or context.metrics is None or pruning.metric in context.metrics:
        return []
    valid = ", ".join(sorted(context.metrics))
    return [Fault("pruning.metric", f"no trial reports {pruning.metric!r}; valid are {valid}")]


def _hyperband_faults(rule: HyperbandPruning, path: str, last: int | None) -> list[Fault]:
    if last is None:
        message = f"is required where the objective does not say its last step; or {_SAY_LAST}"
        return [Fault(f"{path}.max_steps", message)] if rule.max_steps is None else []
    if rule.max_steps is not None and rule.max_steps > last:
        return [Fault(f"{path}.max_steps", f"must be at most {last}, a trial's last step, got {rule.max_steps}")]
    if rule.max_steps is None and rule.min_steps > last:
        return [Fault(f"{path}.min_steps", f"must be at most {last}, a trial's last step, got {rule.min_steps}")]
    return []


def stopping_faults(stopping: Stopping, context: Context) -> list[Fault]:
    """Return what contradicts the strategy and the metrics."""
    if (context.optimized or 1) > 1:
        given = [name for name in RULES if getattr(stopping, name) is not None]
        message = "looks at one optimized metric, and several are given; leave it out, or optimize one"
        return [Fault(f"stopping.{name}", message) for name in given]
    silent = "bayesian with the model tpe" if context.model == "tpe" else context.strategy
    if stopping.expected_improvement_below is None or (context.model != "tpe" and silent not in _WITHOUT_MODEL):
        return []
    message = f"the strategy {silent} says of no suggestion what it is expected to gain; use no_improvement, or another strategy"
    return [Fault("stopping.expected_improvement_below", message)]


def resolved(pruning: Pruning | None, last: int | None) -> Pruning | None:
    """Fill in what was left to the objective, whose trials end with step `last`."""
    rule = comparing(pruning) if pruning is not None else None
    if pruning is None or not isinstance(rule, HyperbandPruning) or rule.max_steps is not None:
        return pruning
    filled = rule.model_copy(update={"max_steps": last})
    return filled if rule is pruning else pruning.model_copy(update={"rule": filled})
