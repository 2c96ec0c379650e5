"""Spaces of whole studies: what is not searched, constraints, and every fault by its path."""

import json
import math
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from search.definition.examples import DIGITS_SCALED
from search.definition.parse import StudyDefinition, parse_study
from search.definition.planning import plan_of
from search.errors import InvalidStudy
from search.space.parameters import Value
from search.space.plan import draw_point
from search.space.points import grid_point
from tests.support.sources import ROOT
from tests.support.spaces import by_name, choice, derived, fixed, number, whole

Study = dict[str, Any]
RATE = number(1e-3, 0.1, scale="log")


def study(strategy: Any = "random", constraints: Any = None, objective: Any = None, **space: Any) -> Study:
    """Return a study that clients run, or with fields of an `objective` one of the recipe."""
    recipe = {"recipe": "classifier", "data": "iris", "network": {"kind": "mlp", "hidden": [8]}, "epochs": 5}
    return {
        "name": "spaces",
        "objective": {"external": True} if objective is None else recipe | objective,
        "metrics": [{"name": "val_loss", "goal": "minimize"}],
        "space": space,
        "search": {"strategy": strategy, "seed": 1},
        "budget": {"trials": 20},
        **({} if constraints is None else {"constraints": constraints}),
    }


def recipe(constraints: Any = None, objective: Study | None = None, **space: Any) -> Study:
    return study("random", constraints, objective or {}, **space)


def faults_of(raw: Study) -> dict[str, str]:
    with pytest.raises(InvalidStudy) as refused:
        parse_study(raw)
    return {fault.path: fault.message for fault in refused.value.faults}


def limit(at_most: Any = 1.0, **terms: Any) -> Study:
    return {"terms": terms, "at_most": at_most}


def test_what_is_stored_is_read_back() -> None:
    definition = parse_study(DIGITS_SCALED)
    stored = json.loads(json.dumps(definition.model_dump(mode="json"), sort_keys=True))
    assert parse_study(stored) == StudyDefinition.model_validate(stored) == definition
    assert stored["space"]["momentum"] == {"type": "fixed", "value": 0.9, "when": {"optimizer": ["momentum"]}}
    assert stored["constraints"] == [{"terms": {"warmup": 1.0, "decay_last": 1.0}, "at_most": 1.0}]
    jsonschema.validate(stored, StudyDefinition.model_json_schema())


def test_a_definition_from_before_there_were_constraints_is_read() -> None:
    stored = parse_study(study(lr=RATE)).model_dump(mode="json")
    assert stored.pop("constraints") == []
    assert StudyDefinition.model_validate(stored).constraints == ()


def test_what_only_others_are_derived_from_is_no_option() -> None:
    definition = parse_study(DIGITS_SCALED)
    params = draw_point(plan_of(definition), seed=1, index=3)
    assert {"base_lr", "lr", "batch_size"} <= params.keys()
    assert definition.objective.handed(params) == {name: params[name] for name in params if name != "base_lr"}
    own = parse_study(study(base=RATE, size=whole(1, 8), lr=derived("base", "size")))
    params = draw_point(plan_of(own), seed=1, index=3)
    assert own.objective.handed(params) == params


def test_an_option_others_are_derived_from_stays_one() -> None:
    definition = parse_study(recipe(lr=RATE, batch_size=choice(16, 32), eps=derived("lr", "batch_size", reference=1e6)))
    params = draw_point(plan_of(definition), seed=1, index=3)
    assert definition.objective.handed(params) == params


def test_each_optimizer_may_have_rates_of_its_own() -> None:
    factors = {"sgd": 0.1, "adam": 0.001}
    raw = recipe(
        relative=number(0.1, 10, scale="log"),
        optimizer=choice(*factors),
        lr=by_name("relative", "optimizer", **factors),
    )
    definition = parse_study(raw)
    assert parse_study(json.loads(json.dumps(definition.model_dump(mode="json")))) == definition
    assert "reference" not in definition.model_dump(mode="json")["space"]["lr"]
    seen = set()
    for index in range(20):
        params = draw_point(plan_of(definition), seed=1, index=index)
        assert params["lr"] == params["relative"] * factors[str(params["optimizer"])]  # type: ignore[operator]
        assert definition.objective.handed(params) == {name: params[name] for name in ("optimizer", "lr")}
        seen.add(params["optimizer"])
    assert seen == factors.keys()


def test_the_template_of_the_comparison_tries_each_method_at_rates_of_its_own() -> None:
    definition = parse_study(yaml.safe_load((ROOT / "examples" / "comparison.yaml").read_text()))
    rates: dict[Value, set[float]] = {}
    for index in range(definition.trials):
        point = grid_point(plan_of(definition), index)
        rates.setdefault(point["optimizer"], set()).add(float(point["lr"]))  # type: ignore[arg-type]
    assert {name: sorted(found) for name, found in rates.items()} == {
        name: pytest.approx([0.3 * best, 0.9**0.5 * best, 3 * best])
        for name, best in {"sgd": 0.5, "momentum": 0.1, "adam": 0.02, "kfac": 0.002}.items()
    }


def test_the_optimizer_may_be_fixed_in_the_space() -> None:
    assert parse_study(recipe(optimizer=fixed("adamw"), lr=RATE, beta1=fixed(0.9)))
    faults = faults_of(recipe(optimizer=fixed("adamm"), lr=RATE))
    assert "unknown optimizer 'adamm'" in faults["space.optimizer.value"]
    faults = faults_of(recipe(optimizer=fixed("sgd"), lr=RATE, beta1=fixed(0.9)))
    assert "is no option of sgd" in faults["space.beta1"]


def test_a_condition_may_come_from_what_a_parameter_is_derived_from() -> None:
    raw = recipe(
        optimizer=choice("sgd", "momentum"),
        base=number(0.01, 0.02, when={"optimizer": ["momentum"]}),
        lr=RATE,
        momentum=derived("base", "lr", reference=0.1),
    )
    assert parse_study(raw)
    raw["space"]["base"].pop("when")
    assert "`when: {optimizer: [momentum]}`" in faults_of(raw)["space.momentum.when"]


def test_a_grid_counts_what_the_constraints_allow() -> None:
    shares = {"a": number(0, 1, step=0.25), "b": number(0, 1, step=0.25)}
    assert parse_study(study("grid", [limit(a=1, b=1)], **shares)).trials == 15
    assert (
        "1,000,000" in faults_of(study("grid", [limit(999, a=1, b=1)], **{n: whole(0, 999) for n in "abcdef"}))["space"]
    )
    counted = study("grid", [limit(999, a=1, b=1)], **{name: whole(0, 999) for name in "abcdef"})
    assert f"{10**12 * 500500:,} points" in faults_of(counted)["space"]
    assert (
        "no point of the grid"
        in faults_of(
            study("grid", [limit(0.9, a=1, b=-1)], a=number(0, 2, levels=[1.0]), b=number(0, 2, levels=[0.0]))
        )["constraints"]
    )


def test_a_grid_that_can_only_be_bounded_says_at_least_how_large_it_is() -> None:
    everything = [limit(999, **dict.fromkeys("abcdef", 1))]
    said = faults_of(study("grid", everything, **{name: whole(0, 999) for name in "abcdef"}))["space"]
    assert said.startswith("the grid has at least 1,")


def test_a_grid_that_cannot_be_counted_is_refused() -> None:
    tight = [{"terms": dict.fromkeys("abcdef", 1.0), "at_least": 1.0, "at_most": 1.0000001}]
    raw = study("grid", tight, **{name: number(1e-4, 1, scale="log", levels=100) for name in "abcdef"})
    assert "cannot be counted" in faults_of(raw)["space"]


BAD: list[tuple[str, Study, str, str]] = [
    ("logit from zero", study(x=number(0, 0.5, scale="logit")), "space.x.low", "above 0 on a logit scale"),
    ("logit to one", study(x=number(0.5, 1, scale="logit")), "space.x.high", "below 1 on a logit scale"),
    ("step on a logit scale", study(x=number(0.1, 0.9, step=0.1, scale="logit")), "space.x.step", "linear only"),
    ("log from zero", study(x=number(0, 1, scale="log")), "space.x.low", "above 0 on a log scale"),
    ("low above high", study(x=number(2, 1)), "space.x.low", "must not be above high"),
    ("step over range", study(x=number(0, 1, step=2)), "space.x.step", "exceed the range"),
    ("no choices", study(x=choice()), "space.x.choices", "must not be empty"),
    ("a choice twice", study(x=choice(1, 1)), "space.x.choices[1]", "already"),
    ("unknown parent", study(x=choice(1, when={"y": [1]})), "space.x.when.y", "no parameter 'y'"),
    ("circle", study(x=choice(1, when={"y": [1]}), y=choice(1, when={"x": [1]})), "space.y.when", "circle"),
    ("NaN", study(x=number(0, math.nan)), "space.x.high", "finite"),
    ("infinity", study(x=number(-math.inf, 0)), "space.x.low", "finite"),
    ("control character", study(**{"a\n": number(0, 1)}), "space.a\\n", "control"),
    ("long name", study(**{"n" * 129: number(0, 1)}), "space." + "n" * 128 + "...", "128"),
    ("fixed without value", study(x=RATE, y={"type": "fixed"}), "space.y.value", "required"),
    ("fixed to a list", study(x=RATE, y=fixed([1])), "space.y.value", "must be a string"),  # type: ignore[arg-type]
    ("fixed to NaN", study(x=RATE, y=fixed(math.nan)), "space.y.value", "finite"),
    ("fixed with a range", study(x=RATE, y=fixed(1, low=0)), "space.y.low", "valid are when, type, value"),
    ("fixed out of range", recipe(lr=RATE, warmup=fixed(1.0)), "space.warmup.value", "[0, 1)"),
    ("fixed to no number", recipe(lr=fixed("x"), warmup=number(0, 0.1)), "space.lr.value", "must be a number"),
    ("nothing searched", study(x=fixed(1)), "space", "nothing to search"),
    ("condition on another value", study(x=fixed(1), y=choice(1, 2, when={"x": [2]})), "space.y.when.x[0]", "valid are 1"),
    ("condition on what is derived", study(x=whole(1, 2), d=derived("x", "x"), y=choice(1, when={"d": [1]})), "space.y.when.d", "is derived"),
    ("derived of nothing", study(x=RATE, y={"type": "derived"}), "space.y.of", "required"),
    ("derived of an unknown one", study(x=RATE, y=derived("z", "x")), "space.y.of", "no parameter 'z'"),
    ("derived by names", study(x=RATE, c=choice("a", "b"), y=derived("x", "c")), "space.y.by", "all numbers"),
    ("derived from itself", study(x=RATE, y=derived("y", "x")), "space.y.of", "itself"),
    ("root of a negative number", study(x=RATE, n=whole(-1, 1), y=derived("x", "n", "sqrt")), "space.y.by", "negative"),
    ("unknown rule", study(x=RATE, y=derived("x", "x", "cubic")), "space.y.rule", "valid are linear, sqrt, factor"),
    ("rule without its factors", study(x=RATE, c=choice("a"), y={"type": "derived", "of": "x", "by": "c", "rule": "factor"}), "space.y.factors", "required with rule factor"),
    ("rule without its reference", study(x=RATE, y={"type": "derived", "of": "x", "by": "x", "rule": "sqrt"}), "space.y.reference", "required with rule sqrt"),
    ("factors of another rule", study(x=RATE, y=derived("x", "x", factors={"a": 1})), "space.y.factors", "does nothing with rule linear"),
    ("reference of another rule", study(x=RATE, c=choice("a"), y=by_name("x", "c", a=1) | {"reference": 2}), "space.y.reference", "does nothing with rule factor"),
    ("a factor that is none", study(x=RATE, c=choice("a"), y=by_name("x", "c", a=1e101)), "space.y.factors.a", "at most 1e+100"),
    ("no factors", study(x=RATE, c=choice("a"), y=by_name("x", "c")), "space.y.factors", "must not be empty"),
    ("factors of some", recipe(x=RATE, optimizer=choice("sgd", "adam"), lr=by_name("x", "optimizer", sgd=1)), "space.lr.factors", "lacks adam"),
    ("a factor out of an option's range", recipe(x=RATE, optimizer=choice("sgd", "adam"), lr=by_name("x", "optimizer", sgd=1, adam=-1)), "space.lr", "got -"),
    ("reference of zero", study(x=RATE, y=derived("x", "x", reference=0)), "space.y.reference", "above 0"),
    ("derived beyond all range", study(x=number(0, 1e99), y=derived("x", "x", reference=1e-9)), "space.y", "beyond 1e+100"),
    ("derived out of an option's range", recipe(x=number(0.5, 2), batch_size=choice(32, 64), warmup=derived("x", "batch_size")), "space.warmup", "[0, 1)"),
    ("derived batch size", recipe(lr=RATE, n=whole(1, 2), batch_size=derived("n", "n")), "space.batch_size.type", "int"),
    ("derived optimizer", recipe(lr=RATE, optimizer=derived("lr", "lr")), "space.optimizer.type", "categorical"),
    ("no option and nothing derived from it", recipe(lr=RATE, base_lr=RATE), "space.base_lr", "no hyperparameter"),
    ("constraints no list", study(constraints={"x": 1}, x=RATE), "constraints", "a list"),
    ("constraint no object", study(constraints=[1], x=RATE), "constraints[0]", "an object"),
    ("too many constraints", study(constraints=[limit(x=1)] * 17, x=RATE), "constraints", "at most 16"),
    ("no terms", study(constraints=[limit()], x=RATE), "constraints[0].terms", "must not be empty"),
    ("terms missing", study(constraints=[{"at_most": 1}], x=RATE), "constraints[0].terms", "required"),
    ("no limit", study(constraints=[{"terms": {"x": 1}}], x=RATE), "constraints[0].at_most", "or at_least"),
    ("limits crossed", study(constraints=[{**limit(x=1), "at_least": 2}], x=RATE), "constraints[0].at_least", "above at_most"),
    ("a coefficient of zero", study(constraints=[limit(x=0)], x=RATE), "constraints[0].terms.x", "must not be 0"),
    ("a coefficient of text", study(constraints=[limit(x="1")], x=RATE), "constraints[0].terms.x", "a number"),
    ("an endless coefficient", study(constraints=[limit(x=math.inf, y=1)], x=RATE, y=RATE), "constraints[0].terms.x", "finite"),
    ("a limit of NaN", study(constraints=[limit(math.nan, x=1)], x=RATE), "constraints[0].at_most", "finite"),
    ("unknown field of a constraint", study(constraints=[{**limit(x=1), "min": 1}], x=RATE), "constraints[0].min", "valid are terms, at_most, at_least"),
    ("constraint on an unknown one", study(constraints=[limit(x=1, y=1)], x=RATE), "constraints[0].terms.y", "no parameter 'y'"),
    ("constraint on choices", study(constraints=[limit(c=1)], x=RATE, c=choice(1, 2)), "constraints[0].terms.c", "categorical"),
    ("constraint on what is derived", study(constraints=[limit(d=1)], x=RATE, d=derived("x", "x")), "constraints[0].terms.d", "derived"),
    ("constraint on fixed values", study(constraints=[limit(f=1)], x=RATE, f=fixed(1)), "constraints[0].terms", "fixed values alone"),
    ("a constraint nothing satisfies", study(constraints=[limit(-1, x=1)], x=RATE), "constraints[0].at_most", "no point satisfies it"),
    ("two that exclude each other", study(constraints=[limit(0.3, a=1, b=1), {"terms": {"a": 1, "b": 1}, "at_least": 0.4}], a=number(0, 1), b=number(0, 1)), "constraints", "no point that satisfies all"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "path", "says"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(raw: Study, path: str, says: str) -> None:
    faults = faults_of(raw)
    assert says in faults.get(path, ""), faults
    assert list(faults) == [path] or path in {"space.y.when", "space.y.of", "space.a\\n"} or "n" * 128 in path, faults


def test_every_fault_is_listed_at_once() -> None:
    raw = study(
        constraints=[limit(math.nan, lr=1), limit(nothing=1, kind=1), {"terms": {}}],
        lr=number(0, 1, scale="log"),
        momentum=number(0.9, 0.5),
        dropout=number(0, 1, scale="logit"),
        width=whole(1, 4, step=9),
        kind=choice("a", "a"),
        depth=whole(1, 3, when={"layers": [1]}),
        scaled=derived("base", "kind", "sqrt", reference=-1),
        given=fixed(math.inf),
        **{"tab\t": number(0, 1), "n" * 200: number(0, 1)},
    )
    assert set(faults_of(raw)) == {
        "constraints[0].at_most",
        "constraints[1].terms.nothing",
        "constraints[1].terms.kind",
        "constraints[2].terms",
        "constraints[2].at_most",
        "space.lr.low",
        "space.momentum.low",
        "space.dropout.low",
        "space.dropout.high",
        "space.width.step",
        "space.kind.choices[1]",
        "space.depth.when.layers",
        "space.scaled.reference",
        "space.given.value",
        "space.tab\\t",
        "space." + "n" * 128 + "...",
    }
