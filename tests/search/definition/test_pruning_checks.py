"""Pruning, stopping and limits as they are posted: what is refused, and what is filled in."""

import math

import pytest

from search.definition.parse import parse_study
from tests.search.definition.test_parse import Study, faults_of, study

TWO = {
    "metrics": [{"name": "value", "goal": "minimize"}, {"name": "size", "goal": "minimize"}],
    "search": {"strategy": "nsga2"},
}
BAD = [
    ("promotion by several metrics", study("branin", **TWO, pruning={"kind": "asha", "mode": "promote"}), "pruning.mode", "use stop, or give all but one"),
    ("patience for several metrics", study("branin", **TWO, pruning={"kind": "patience", "patience": 1}), "pruning.kind", "use asha, hyperband, median, percentile, or give"),
    ("patience around a rule for several metrics", study("branin", **TWO, pruning={"kind": "patience", "patience": 1, "rule": {"kind": "median"}}), "pruning.kind", "several are given"),
    ("a bound on none of several metrics", study("branin", **TWO, pruning={"kind": "threshold", "upper": 1}), "pruning.metric", "name the one that has bounds"),
    ("brackets without an end for several metrics", study("branin", **TWO, pruning={"kind": "hyperband"}), "pruning.max_steps", "is required"),
    ("promotion that is misspelt", study(pruning={"kind": "asha", "mode": "wait"}), "pruning.mode", "valid are stop, promote"),
    ("promotion without an end", study("branin", pruning={"kind": "asha", "mode": "promote"}), "pruning.mode", "objective.steps"),
    ("brackets without an end", study("branin", pruning={"kind": "hyperband"}), "pruning.max_steps", "is required"),
    ("brackets upside down", study(pruning={"kind": "hyperband", "min_steps": 5, "max_steps": 2}), "pruning.max_steps", "at least min_steps 5"),
    ("brackets beyond the end", study(pruning={"kind": "hyperband", "max_steps": 999}), "pruning.max_steps", "a trial's last step"),
    ("a bracket beyond the end", study(pruning={"kind": "hyperband", "min_steps": 999}), "pruning.min_steps", "a trial's last step"),
    ("percentile missing", study(pruning={"kind": "percentile"}), "pruning.percentile", "is required"),
    ("percentile of nobody", study(pruning={"kind": "percentile", "percentile": 0}), "pruning.percentile", "above 0"),
    ("percentile of all", study(pruning={"kind": "percentile", "percentile": 100}), "pruning.percentile", "below 100"),
    ("no patience at all", study(pruning={"kind": "patience", "patience": 0}), "pruning.patience", "at least 1"),
    ("delta below zero", study(pruning={"kind": "patience", "patience": 1, "min_delta": -1}), "pruning.min_delta", "at least 0"),
    ("patience around patience", study(pruning={"kind": "patience", "patience": 1, "rule": {"kind": "patience"}}), "pruning.rule.kind", "valid are asha, hyperband, median, percentile"),
    ("patience around a bad rule", study(pruning={"kind": "patience", "patience": 1, "rule": {"kind": "asha", "reduction": 1}}), "pruning.rule.reduction", "at least 2"),
    ("patience around brackets", study(pruning={"kind": "patience", "patience": 1, "rule": {"kind": "hyperband", "max_steps": 999}}), "pruning.rule.max_steps", "a trial's last step"),
    ("patience around promotion", study(pruning={"kind": "patience", "patience": 1, "rule": {"kind": "asha", "mode": "promote"}}), "pruning.rule.mode", "must be stop"),
    ("rule that is no object", study(pruning={"kind": "patience", "patience": 1, "rule": "asha"}), "pruning.rule", "an object"),
    ("threshold without bounds", study(pruning={"kind": "threshold"}), "pruning.lower", "unless upper is given"),
    ("bounds upside down", study(pruning={"kind": "threshold", "lower": 2, "upper": 1}), "pruning.upper", "at least lower 2"),
    ("infinite bound", study(pruning={"kind": "threshold", "upper": math.inf}), "pruning.upper", "finite"),
    ("bound on a metric nobody reports", study(pruning={"kind": "threshold", "upper": 1, "metric": "f1"}), "pruning.metric", "valid are"),
    ("stopping without a rule", study(stopping={}), "stopping.target", "valid are target, no_improvement"),
    ("stopping no object", study(stopping=0.1), "stopping", "an object"),
    ("unknown stopping rule", study(stopping={"targt": 1}), "stopping.targt", "valid are target"),
    ("target not finite", study(stopping={"target": math.nan}), "stopping.target", "finite"),
    ("target no number", study(stopping={"target": "best"}), "stopping.target", "a number"),
    ("no trials to improve in", study(stopping={"no_improvement": {"trials": 0}}), "stopping.no_improvement.trials", "at least 1"),
    ("trials to improve in missing", study(stopping={"no_improvement": {"min_delta": 1}}), "stopping.no_improvement.trials", "required"),
    ("unknown field of a rule", study(stopping={"no_improvement": {"trials": 1, "x": 1}}), "stopping.no_improvement.x", "valid are trials, min_delta"),
    ("expectation of nothing", study(stopping={"expected_improvement_below": 0}), "stopping.expected_improvement_below", "above 0"),
    ("expectation without a model", study("wine-random", stopping={"expected_improvement_below": 0.1}), "stopping.expected_improvement_below", "random says of no suggestion"),
    ("no suggestions to look at", study(stopping={"expected_improvement_below": 0.1, "patience": 0}), "stopping.patience", "at least 1"),
    ("no device seconds", study(budget={"trials": 5, "gpu_seconds": 0}), "budget.gpu_seconds", "above 0"),
    ("device seconds below zero", study(budget={"trials": 5, "gpu_seconds": -1}), "budget.gpu_seconds", "above 0"),
    ("device seconds no number", study(budget={"trials": 5, "gpu_seconds": "1h"}), "budget.gpu_seconds", "a number"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "path", "says"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(raw: Study, path: str, says: str) -> None:
    faults = faults_of(raw)
    assert [fault for fault in faults if fault.path == path and says in fault.message], faults
    assert all(fault.message and fault.message.isprintable() for fault in faults)


@pytest.mark.parametrize("asked", [None, 15])
def test_brackets_end_with_the_trial(asked: int | None) -> None:
    pruning = {"kind": "hyperband"} | ({} if asked is None else {"max_steps": asked})
    raw = study(pruning=pruning)
    last = raw["objective"]["epochs"]
    assert parse_study(raw).model_dump(mode="json")["pruning"]["max_steps"] == (asked or last)
    around = parse_study(study(pruning={"kind": "patience", "patience": 2, "rule": pruning}))
    assert around.model_dump(mode="json")["pruning"]["rule"]["max_steps"] == (asked or last)


def test_a_metric_that_the_recipe_reports_may_have_bounds() -> None:
    assert parse_study(study(pruning={"kind": "threshold", "upper": 9, "metric": "train_loss"})).pruning is not None
    measured = study(
        "branin", metrics=[{"name": "value", "goal": "minimize"}, {"name": "t", "goal": "minimize", "role": "store"}]
    )
    assert parse_study({**measured, "pruning": {"kind": "threshold", "lower": 0, "metric": "t"}}).pruning is not None


@pytest.mark.parametrize(
    "pruning",
    [
        {"kind": "asha"},
        {"kind": "hyperband", "max_steps": 9},
        {"kind": "median"},
        {"kind": "percentile", "percentile": 25},
        {"kind": "threshold", "upper": 1, "metric": "size"},
    ],
    ids=lambda pruning: str(pruning["kind"]),
)
def test_studies_of_several_metrics_may_prune(pruning: Study) -> None:
    read = parse_study(study("branin", **TWO, pruning=pruning)).pruning
    assert read is not None
    assert read.kind == pruning["kind"]
