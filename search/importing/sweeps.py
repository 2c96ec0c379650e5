"""A W&B sweep configuration as a study: method, metric, parameters, early termination and run cap.

How a sweep starts its runs (program, command, agents, images) is not carried over: HTTP carries no commands. The study is
made `external`, for clients that ask for its trials, unless the caller brings another objective.
"""

from collections.abc import Mapping
from typing import Any

from search.importing.findings import Findings
from search.importing.sweep_parameters import read_parameters
from search.space.parameters import is_number, is_whole

TRIALS = 100
METHODS: Mapping[str, str] = {"grid": "grid", "random": "random", "bayes": "bayesian"}
GOALS = ("minimize", "maximize")
_COMMAND = "HTTP carries no commands: register one in a worker's tuneup.toml and name it in `study.objective`"
_NO_PLACE = "has no counterpart in a study"
# Fields that are not carried over, and why.
LEFT_OUT: Mapping[str, str] = {
    "program": _COMMAND,
    "command": _COMMAND,
    "job": _COMMAND,
    "image_uri": _COMMAND,
    "entity": _NO_PLACE,
    "project": _NO_PLACE,
    "description": "a study has a name and labels; give `study.labels` to keep it",
    "controller": "the service decides what runs next, there is no controller to choose",
    "scheduler": "the service decides what runs next, by its own strategies",
    "metrics": "several metrics need a scheduler of W&B's; give `study.metrics`",
    "settings": _NO_PLACE,
    "version": _NO_PLACE,
}
READ = ("name", "method", "metric", "parameters", "early_terminate", "run_cap")


def read_sweep(source: object, given: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    """Return the skeleton of a definition; `given` are the fields that the caller brings."""
    skeleton: dict[str, Any] = {"name": "imported from W&B", "objective": {"external": True}}
    if not isinstance(source, Mapping):
        findings.fault("source", "must be an object: a sweep configuration")
        return skeleton
    for name in source:
        if name in LEFT_OUT:
            findings.note(f"source.{name}", f"is not carried over: {LEFT_OUT[name]}")
        elif name not in READ:
            findings.note(f"source.{name}", "is not known in a sweep configuration; nothing was made of it")
    if source.get("name") is not None:
        skeleton["name"] = source["name"]
    _method(source.get("method"), skeleton, given, findings)
    _metric(source.get("metric"), skeleton, given, findings)
    _budget(source.get("run_cap"), skeleton, given, findings)
    skeleton["space"] = read_parameters(source.get("parameters"), "source.parameters", findings)
    if source.get("early_terminate") is not None:
        _pruning(source["early_terminate"], skeleton, findings)
    return skeleton


def _method(method: object, skeleton: dict[str, Any], given: Mapping[str, Any], findings: Findings) -> None:
    if isinstance(method, str) and method in METHODS:
        skeleton["search"] = {"strategy": METHODS[method]}
    elif "search" not in given:
        what = "is required" if method is None else f"unknown method {method!a}"
        findings.fault("source.method", f"{what}; valid are {', '.join(METHODS)}, or give `study.search`")


def _metric(metric: object, skeleton: dict[str, Any], given: Mapping[str, Any], findings: Findings) -> None:
    if metric is None:
        why = "the sweep names no metric: `loss`, minimized, is assumed; give `metrics` in `study`"
        findings.assume(skeleton, given, "metrics", [{"name": "loss", "goal": "minimize"}], "source.metric", why)
        return
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str):
        findings.fault("source.metric.name", "is required: the name under which the value is reported")
        return
    goal = metric.get("goal", "minimize")
    if goal not in GOALS:
        findings.fault("source.metric.goal", f"unknown goal {goal!a}; valid are {', '.join(GOALS)}")
    skeleton["metrics"] = [{"name": metric["name"], "goal": goal}]
    for name in sorted(metric.keys() - {"name", "goal"}):
        why = _METRIC_NOTES.get(name, "is not known of a sweep's metric; nothing was made of it")
        findings.note(f"source.metric.{name}", why)


_METRIC_NOTES: Mapping[str, str] = {
    "target": "is not carried over: a study does not end at a value; cancel it when it is reached",
    "impute": "is not carried over: a trial that failed tells the strategy nothing, one that diverged that it is unstable",
    "impute_while_running": "is not carried over: strategies know which trials run",
}


def _budget(cap: object, skeleton: dict[str, Any], given: Mapping[str, Any], findings: Findings) -> None:
    if cap is not None and (not is_whole(cap) or cap < 1):  # type: ignore[operator]
        findings.fault("source.run_cap", f"must be a whole number of at least 1, got {cap!a}")
    elif cap is not None:
        skeleton["budget"] = {"trials": cap}
    elif skeleton.get("search", {}).get("strategy") != "grid":
        why = f"the sweep has no end: {TRIALS} trials are assumed; give `budget` in `study`"
        findings.assume(skeleton, given, "budget", {"trials": TRIALS}, "source.run_cap", why)


def _pruning(stop: object, skeleton: dict[str, Any], findings: Findings) -> None:
    """W&B's hyperband is one bracket of successive halving in which runs are stopped, never made to wait: our `asha`."""
    path = "source.early_terminate"
    if not isinstance(stop, Mapping) or stop.get("type") != "hyperband":
        findings.fault(f"{path}.type", "unknown type; valid is hyperband")
        return
    numbers = {name: stop[name] for name in ("min_iter", "max_iter", "s", "eta") if stop.get(name) is not None}
    wrong = [name for name, value in numbers.items() if not is_number(value) or value < 1]
    for name in wrong:
        findings.fault(f"{path}.{name}", f"must be a number of at least 1, got {numbers[name]!a}")
    if "min_iter" not in numbers and not {"max_iter", "s"} <= numbers.keys():
        findings.fault(path, "needs min_iter, or max_iter and s")
    elif not wrong:
        _asha(numbers, skeleton, findings)
    if stop.get("strict"):
        findings.note(f"{path}.strict", "is not carried over: at each rung the best 1 / eta go on")
    for name in sorted(stop.keys() - {"type", "strict", *_HYPERBAND}):
        findings.note(f"{path}.{name}", "is not known of hyperband; nothing was made of it")


_HYPERBAND = ("min_iter", "max_iter", "s", "eta")


def _asha(numbers: Mapping[str, float], skeleton: dict[str, Any], findings: Findings) -> None:
    given = numbers.get("eta", 3)
    reduction = max(2, round(given))
    first = numbers["min_iter"] if "max_iter" not in numbers else _first_band(numbers, given)
    skeleton["pruning"] = {"kind": "asha", "reduction": reduction, "min_steps": max(1, int(first))}
    if "max_iter" in numbers:
        skeleton["objective"] = {"external": True, "steps": int(numbers["max_iter"])}
    findings.note(
        "source.early_terminate",
        "is carried over as pruning of kind asha, which decides at the same steps: W&B's hyperband has one bracket",
    )
    if reduction != given:
        findings.note("source.early_terminate.eta", f"must be whole and at least 2 here: {given:g} became {reduction}")


def _first_band(numbers: Mapping[str, float], eta: float) -> float:
    """Return the least of max_iter / eta^k, k = 1 .. s, that is at least 1."""
    bands = [numbers["max_iter"] / eta**k for k in range(1, min(int(numbers["s"]), 64) + 1)]
    return min((band for band in bands if band >= 1), default=1)
