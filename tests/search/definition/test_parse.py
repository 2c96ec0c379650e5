"""Reading a study definition: what is accepted, what is filled in, and every fault by its path."""

import copy
import json
import math
from collections.abc import Iterable
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.definition.examples import FURTHER_STUDIES
from search.definition.kinds import RecipeObjective
from search.definition.parse import EXAMPLE_STUDIES, StudyDefinition, parse_study
from search.errors import Fault, InvalidStudy

Study = dict[str, Any]
EVERY: dict[str, Study] = {**EXAMPLE_STUDIES, **FURTHER_STUDIES}


def study(example: str = "digits-mlp", **changes: object) -> Study:
    """Return an example with values set at dotted paths; `__` stands for the dot, and None takes a field out."""
    raw = copy.deepcopy(EVERY[example])
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = raw
        for name in parents:
            place = place.setdefault(name, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return raw


def faults_of(raw: object) -> list[Fault]:
    with pytest.raises(InvalidStudy) as refused:
        parse_study(raw)
    return list(refused.value.faults)


def number(low: float, high: float, **more: object) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, **more}


def choice(*choices: object) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices)}


def grid(**parameters: object) -> Study:
    return study("iris-grid", **{f"space__{name}": parameter for name, parameter in parameters.items()})


def multistep(milestones: object) -> Study:
    return study(objective__schedule="multistep", objective__decay_milestones=milestones)


@pytest.mark.parametrize("name", EVERY)
def test_examples_come_back_unchanged(name: str) -> None:
    definition = parse_study(EVERY[name])
    stored = json.loads(json.dumps(definition.model_dump(mode="json"), sort_keys=True))
    assert parse_study(stored) == definition
    assert parse_study(stored).model_dump(mode="json") == stored
    assert StudyDefinition.model_validate(stored) == definition


@pytest.mark.parametrize("name", EVERY)
def test_the_json_schema_accepts_the_examples(name: str) -> None:
    schema = StudyDefinition.model_json_schema()
    jsonschema.validate(EVERY[name], schema)
    jsonschema.validate(parse_study(EVERY[name]).model_dump(mode="json"), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(study(name, zzz=1), schema)


def test_defaults_are_filled_in() -> None:
    definition = parse_study(
        study(pruning=None, parallelism=None, search={"strategy": "bayesian"}, budget={"trials": 3})
    )
    assert definition.pruning is None
    assert definition.parallelism is None
    assert definition.max_failed is None
    assert definition.search.seed is None
    assert (definition.report, definition.execution, definition.objective.queue) == ("last", "auto", "cpu")
    assert definition.objectives[0].name == "val_loss"
    search = {"strategy": "bayesian", "seed": None, "startup": 10, "model": "auto", "held": ["momentum", "warmup"]}
    assert definition.model_dump(mode="json")["search"] == search


def test_absent_fields_of_a_parameter_stay_absent() -> None:
    stored = parse_study(study()).model_dump(mode="json")
    assert stored["space"]["lr"] == {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"}


@pytest.mark.parametrize(
    ("asked", "trials"), [(None, 24), ({"trials": 7}, 7), ({"trials": 100}, 24), ({"seconds": 5}, 24)]
)
def test_the_budget_of_a_grid(asked: object, trials: int) -> None:
    definition = parse_study(study("iris-grid", budget=asked))
    assert definition.budget.trials == trials


def test_low_may_equal_high() -> None:
    raw = study(space__momentum=number(0.9, 0.9, when={"optimizer": ["momentum", "nesterov"]}))
    assert parse_study(raw).space["momentum"]


def test_what_the_objective_fixes() -> None:
    raw = study("wine-random", objective__weight_decay=None, objective__eps=1e-6)
    objective = parse_study(raw).objective
    assert isinstance(objective, RecipeObjective)
    assert objective.fixed == {"optimizer": "adamw", "batch_size": 16, "eps": 1e-6}


def test_points_are_fixed_in_the_objective() -> None:
    definition = parse_study(multistep([0.5, 0.8]))
    assert isinstance(definition.objective, RecipeObjective)
    assert definition.objective.fixed["decay_milestones"] == (0.5, 0.8)
    stored = json.loads(json.dumps(definition.model_dump(mode="json")))
    assert stored["objective"]["decay_milestones"] == [0.5, 0.8]
    assert parse_study(stored) == StudyDefinition.model_validate(stored) == definition
    jsonschema.validate(stored, StudyDefinition.model_json_schema())


@pytest.mark.parametrize(
    ("objective", "queue", "last_step", "registered"),
    [
        (EXAMPLE_STUDIES["digits-mlp"]["objective"], "cpu", 20, None),
        ({**EXAMPLE_STUDIES["digits-mlp"]["objective"], "device": "gpu"}, "gpu", 20, None),
        ({"name": "mine"}, "cpu", None, "mine"),
        ({"name": "mine", "device": "gpu", "steps": 9, "options": {"a": 1, "b": "x", "c": None}}, "gpu", 9, "mine"),
        ({"external": True}, "external", None, None),
        ({"external": True, "steps": 3}, "external", 3, None),
    ],
)
def test_kinds_of_objectives(objective: Study, queue: str, last_step: int | None, registered: str | None) -> None:
    found = parse_study(
        study("polynomial" if "recipe" not in objective else "digits-mlp", objective=objective)
    ).objective
    assert (found.queue, found.last_step, found.registered) == (queue, last_step, registered)


def test_a_definition_from_before_there_were_timeouts_is_read() -> None:
    definition = parse_study(study())
    stored = definition.model_dump(mode="json")
    assert stored.pop("timeouts") == {"progress": 1800.0, "total": None}
    assert StudyDefinition.model_validate(stored) == definition


def test_a_condition_may_come_from_a_parent() -> None:
    raw = study(
        space__beta1=number(0.5, 0.9, when={"optimizer": ["adam"]}, step=0.2),
        space__eps=number(1e-8, 1e-4, scale="log", when={"warm": [1]}),
        space__warm=None,
    )
    assert [fault.path for fault in faults_of(raw)] == ["space.eps.when.warm", "space.eps.when"]


BAD: list[tuple[str, Study, str, str]] = [
    ("log from zero", study(space__lr=number(0, 1, scale="log")), "space.lr.low", "above 0"),
    ("log from below zero", study(space__lr=number(-1, 1, scale="log")), "space.lr.low", "above 0"),
    ("log of int from zero", study(space__batch_size={"type": "int", "low": 0, "high": 8, "scale": "log"}), "space.batch_size.low", "at least 1"),
    ("reverse log to one", study(space__warmup=number(0, 1, scale="reverse_log")), "space.warmup.high", "below 1"),
    ("low above high", study(space__lr=number(1, 0.1)), "space.lr.low", "must not be above high"),
    ("step over range", study(space__warmup=number(0, 0.3, step=0.5)), "space.warmup.step", "exceed the range"),
    ("step of int over range", study(space__batch_size={"type": "int", "low": 1, "high": 8, "step": 8}), "space.batch_size.step", "exceed the range"),
    ("step zero", study(space__warmup=number(0, 0.3, step=0)), "space.warmup.step", "above 0"),
    ("step on a log scale", study(space__lr=number(0.1, 1, step=0.1, scale="log")), "space.lr.step", "linear"),
    ("tiny step", study(space__lr=number(0, 1, step=1e-300)), "space.lr.step", "too small"),
    ("no choices", study(space__batch_size=choice()), "space.batch_size.choices", "must not be empty"),
    ("choices missing", study(space__batch_size={"type": "categorical"}), "space.batch_size.choices", "required"),
    ("a choice twice", study(space__batch_size=choice(16, 32, 16)), "space.batch_size.choices[2]", "already"),
    ("1 and 1.0", study(space__warmup=choice(0, 0.0)), "space.warmup.choices[1]", "already"),
    ("a choice that is a list", study(space__batch_size=choice([16])), "space.batch_size.choices[0]", "string"),
    ("default not among choices", study(space__batch_size={**choice(16), "default": 8}), "space.batch_size.default", "not among"),
    ("default out of range", study(space__lr=number(0.1, 1, default=2)), "space.lr.default", "range"),
    ("levels out of range", study(space__lr=number(0.1, 1, levels=[0.1, 3])), "space.lr.levels[1]", "range"),
    ("levels twice", study(space__lr=number(0.1, 1, levels=[0.1, 0.1])), "space.lr.levels", "twice"),
    ("levels zero", study(space__lr=number(0.1, 1, levels=0)), "space.lr.levels", "1 to 1000"),
    ("levels off the step", study(space__warmup=number(0, 0.3, step=0.1, levels=[0.15])), "space.warmup.levels[0]", "by 0.1"),
    ("levels and choices", study(space__lr=number(0.1, 1, levels=2, choices=[0.5])), "space.lr.choices", "one of the two"),
    ("unknown type", study(space__lr={"type": "real", "low": 0, "high": 1}), "space.lr.type", "valid are float, int, categorical"),
    ("type missing", study(space__lr={"low": 0, "high": 1}), "space.lr.type", "required"),
    ("parameter no object", study(space__lr=[0, 1]), "space.lr", "an object"),
    ("unknown scale", study(space__lr=number(0.1, 1, scale="cubic")), "space.lr.scale", "valid are linear, log, reverse_log"),
    ("unknown field of a parameter", study(space__lr=number(0.1, 1, lo=1)), "space.lr.lo", "valid are"),
    ("text for a number", study(space__lr=number("0.1", 1)), "space.lr.low", "a number"),  # type: ignore[arg-type]
    ("true for a number", study(space__lr=number(True, 1)), "space.lr.low", "a number"),
    ("bound missing", study(space__lr={"type": "float", "low": 0.1}), "space.lr.high", "required"),
    ("NaN", study(space__lr=number(math.nan, 1)), "space.lr.low", "finite"),
    ("infinity", study(space__lr=number(0.1, math.inf)), "space.lr.high", "finite"),
    ("huge bound", study(space__lr=number(0.1, 1e200)), "space.lr.high", "at most"),
    ("huge int", study(search__seed=2**60), "search.seed", "2^53"),
    ("nothing to search", study(space={}), "space", "at least one"),
    ("space no object", study(space=[1]), "space", "an object"),
    ("too many parameters", study(space={f"p{index}": number(0, 1) for index in range(65)}), "space", "at most 64"),
    ("unknown parent", study(space__momentum__when={"optimiser": ["momentum"]}), "space.momentum.when.optimiser", "no parameter 'optimiser'"),
    ("impossible condition", study(space__momentum__when={"optimizer": ["lion"]}), "space.momentum.when.optimizer[0]", "not a value"),
    ("float parent", study(space__momentum__when={"optimizer": ["momentum"], "lr": [0.1]}), "space.momentum.when.lr", "categorical, int or fixed"),
    ("empty condition", study(space__momentum__when={"optimizer": []}), "space.momentum.when.optimizer", "must not be empty"),
    ("condition twice", study(space__momentum__when={"optimizer": ["momentum", "momentum"]}), "space.momentum.when.optimizer", "twice"),
    ("circle", study(space__optimizer__when={"batch_size": [16]}, space__batch_size__when={"optimizer": ["sgd"]}), "space.batch_size.when", "circle"),
    ("unknown optimizer", study(space__optimizer=choice("sgd", "adamm")), "space.optimizer.choices[1]", "valid are sgd, momentum"),
    ("optimizer no choice", study(space__optimizer=number(0, 1)), "space.optimizer.type", "categorical"),
    ("unknown fixed optimizer", study("wine-random", objective__optimizer="adamm"), "objective.optimizer", "valid are sgd"),
    ("unknown schedule", study(space__schedule=choice("cosine", "sine")), "space.schedule.choices[1]", "valid are constant"),
    ("unknown hyperparameter", study(space__learning_rate=number(0, 1)), "space.learning_rate", "valid here are optimizer, schedule"),
    ("unknown fixed hyperparameter", study(objective__dropout=0.5), "objective.dropout", "valid here are"),
    ("option that nobody has", study(space__alpha=number(0.9, 0.99)), "space.alpha", "rmsprop"),
    ("option that some lack", study(space__momentum__when=None), "space.momentum.when", "`when: {optimizer: [momentum, nesterov]}`"),
    ("condition that lets some in", study(space__momentum__when={"optimizer": ["sgd", "momentum"]}), "space.momentum.when", "no option of sgd"),
    ("fixed option that some lack", study(space__momentum=None, objective__momentum=0.9), "objective.momentum", "`when: {optimizer: [momentum, nesterov]}`"),
    ("fixed and searched", study(objective__lr=0.1), "objective.lr", "drop one"),
    ("fixed out of range", study(space__warmup=None, objective__warmup=1.0), "objective.warmup", "[0, 1)"),
    ("momentum of one", study(space__momentum__high=1.0, space__momentum__scale="linear"), "space.momentum.high", "[0, 1)"),
    ("negative rate", study(space__lr=number(-1, 1)), "space.lr.low", "must be in"),
    ("warm-up of one", study(space__warmup=number(0, 1)), "space.warmup.high", "[0, 1)"),
    ("batch size zero", study(space__batch_size=choice(0, 16)), "space.batch_size.choices[0]", "must be in"),
    ("batch size of a float", study(space__batch_size=number(16, 128)), "space.batch_size.type", "int"),
    ("batch size too large", study(space__batch_size=choice(5000)), "space.batch_size.choices[0]", "must be in [1, 4096], got 5000"),
    ("rate of zero", study(space__lr=None, objective__lr=0), "objective.lr", "must be in (0, 1e+06], got 0"),
    ("rate from zero", study(space__lr=number(0, 1)), "space.lr.low", "must be in (0, 1e+06], got 0"),
    ("beta of one", study("wine-random", space__beta1=number(0.9, 1)), "space.beta1.high", "must be in [0, 1), got 1"),
    ("beta below zero", study("wine-random", space__beta1=None, objective__beta1=-0.1), "objective.beta1", "[0, 1), got -0.1"),
    ("negative warm-up", study(objective__warmup_steps=-1, space__warmup=None), "objective.warmup_steps", "[0, 1e+09]"),
    ("half a step of warm-up", study(objective__warmup_steps=0.5), "objective.warmup_steps", "whole number"),
    ("unknown shape of warm-up", study(objective__warmup_shape="sine"), "objective.warmup_shape", "one of none, linear, exponential, cosine"),
    ("unknown shape searched", study(space__warmup_shape=choice("linear", "sine")), "space.warmup_shape.choices[1]", "one of none, linear"),
    ("shape as a number", study(space__warmup_shape=number(0, 1)), "space.warmup_shape.type", "categorical, with choices among none, linear"),
    ("switch as a number", study(space__optimizer=choice("adam"), space__momentum=None, space__bias_correction=number(0, 1)), "space.bias_correction.type", "choices true and false"),
    ("unknown batch mode", study(objective__batch_mode="some"), "objective.batch_mode", "one of mini, full, single"),
    ("norm below zero", study(objective__clip_norm=-1.0), "objective.clip_norm", "[0, 1e+06]"),
    ("points out of order", multistep([0.5, 0.5]), "objective.decay_milestones", "must rise from point to point, got 0.5 after 0.5"),
    ("point out of range", multistep([0.5, 1.5]), "objective.decay_milestones[1]", "must be in (0, 1), got 1.5"),
    ("point no number", multistep([0.5, "x"]), "objective.decay_milestones", "list of 1 to 1000 finite numbers"),
    ("no points", multistep([]), "objective.decay_milestones", "list of 1 to 1000 finite numbers"),
    ("one number for points", multistep(0.5), "objective.decay_milestones", "must be a list of numbers in (0, 1), got 0.5"),
    ("point that is infinite", multistep([math.inf]), "objective.decay_milestones[0]", "finite"),
    ("points searched", study(objective__schedule="multistep", space__decay_milestones=choice(0.1, 0.2)), "space.decay_milestones", "fix it in the objective"),
    ("points for another option", study(objective__schedule="cosine", objective__decay_final=[0.1]), "objective.decay_final", "must be a number in [0, 1], got [0.1]"),
    ("points of another schedule", study(objective__decay_milestones=[0.5]), "objective.decay_milestones", "is no option of constant; the schedule that has it: multistep"),
    ("unknown recipe", study(objective__recipe="forest"), "objective.recipe", "valid are classifier"),
    ("unknown data", study(objective__data="digit"), "objective.data", "valid are digits, wine, breast_cancer, iris"),
    ("unknown network", study(objective__network={"kind": "rnn"}), "objective.network.kind", "valid are mlp, cnn"),
    ("network without kind", study(objective__network={"hidden": [8]}), "objective.network.kind", "required"),
    ("network of the other kind", study(objective__network={"kind": "mlp", "channels": [8]}), "objective.network.hidden", "required"),
    ("no layers", study(objective__network={"kind": "mlp", "hidden": []}), "objective.network.hidden", "must not be empty"),
    ("layer of zero", study(objective__network={"kind": "mlp", "hidden": [0]}), "objective.network.hidden[0]", "at least 1"),
    ("layer too wide", study(objective__network={"kind": "mlp", "hidden": [8, 5000]}), "objective.network.hidden[1]", "at most 4096"),
    ("too many layers", study(objective__network={"kind": "cnn", "channels": [8] * 5}), "objective.network.channels", "at most 4"),
    ("pictures wanted", study("wine-random", objective__network={"kind": "cnn", "channels": [8]}), "objective.network.kind", "digits"),
    ("no epochs", study(objective__epochs=0), "objective.epochs", "at least 1"),
    ("unknown device", study(objective__device="tpu"), "objective.device", "valid are cpu, gpu"),
    ("no kind of objective", study(objective={"data": "iris"}), "objective", "exactly one of recipe, name, external, got none"),
    ("two kinds of objective", study(objective__external=True), "objective", "got recipe, external"),
    ("three kinds of objective", study("polynomial", objective__external=True, objective__recipe="classifier"), "objective", "got recipe, name, external"),
    ("objective no object", study(objective="mine"), "objective", "an object"),
    ("registered name blank", study("polynomial", objective__name=" "), "objective.name", "blank"),
    ("registered name no text", study("polynomial", objective__name=7), "objective.name", "a string"),
    ("command over HTTP", study("polynomial", objective__command=["sh"]), "objective.command", "valid are name, device, steps, options"),
    ("no steps", study("polynomial", objective__steps=0), "objective.steps", "at least 1"),
    ("option that is a list", study("polynomial", objective__options={"a": [1]}), "objective.options.a", "must be a string"),
    ("not external", study("branin", objective__external=False), "objective.external", "valid are True"),
    ("external on a device", study("branin", objective__device="gpu"), "objective.device", "valid are external, steps"),
    ("no patience", study(timeouts={"progress": 0}), "timeouts.progress", "above 0"),
    ("endless total", study(timeouts={"total": 2e9}), "timeouts.total", "at most 1e+09"),
    ("unknown timeout", study(timeouts={"step": 5}), "timeouts.step", "valid are progress, total"),
    ("timeouts no object", study(timeouts=30), "timeouts", "an object"),
    ("objective missing", study(objective=None), "objective", "required"),
    ("unknown metric", study(metrics=[{"name": "loss", "goal": "minimize"}]), "metrics[0].name", "valid are train_loss"),
    ("unknown goal", study(metrics=[{"name": "val_loss", "goal": "down"}]), "metrics[0].goal", "valid are minimize, maximize"),
    ("constraint", study(metrics=[{"name": "val_loss", "goal": "minimize", "role": "constraint"}]), "metrics[0].threshold", "is required with the role constraint"),
    ("two to optimize", study(metrics=[{"name": "val_loss", "goal": "minimize"}, {"name": "val_accuracy", "goal": "maximize"}]), "search.strategy", "use grid, random, sobol, halton, nsga2"),
    ("none to optimize", study(metrics=[{"name": "val_loss", "goal": "minimize", "role": "store"}]), "metrics", "at least one"),
    ("metric twice", study(metrics=[{"name": "val_loss", "goal": "minimize"}, {"name": "val_loss", "goal": "minimize", "role": "store"}]), "metrics[1].name", "already"),
    ("no metrics", study(metrics=[]), "metrics", "must not be empty"),
    ("metrics no list", study(metrics={"name": "val_loss"}), "metrics", "a list"),
    ("unknown strategy", study(search={"strategy": "annealing"}), "search.strategy", "valid are grid, random, bayesian"),
    ("cmaes over choices", study(search={"strategy": "cmaes"}), "search.strategy", "batch_size is a choice, momentum has a condition, optimizer is a choice"),
    ("a generation of three", study(search={"strategy": "cmaes", "population": 3}), "search.population", "at least 4"),
    ("strategy missing", study(search={"seed": 1}), "search.strategy", "required"),
    ("search missing", study(search=None), "search", "required"),
    ("startup of a random search", study("wine-random", search__startup=3), "search.startup", "valid are strategy, seed"),
    ("negative seed", study(search__seed=-1), "search.seed", "at least 0"),
    ("unknown pruning", study(pruning={"kind": "halving"}), "pruning.kind", "valid are asha, hyperband, median, percentile, patience, threshold"),
    ("reduction of one", study(pruning={"kind": "asha", "reduction": 1}), "pruning.reduction", "at least 2"),
    ("interval of zero", study(pruning={"kind": "median", "interval": 0}), "pruning.interval", "at least 1"),
    ("budget missing", study(budget=None), "budget.trials", "required by the strategy bayesian"),
    ("budget of seconds only", study("wine-random", budget={"seconds": 60}), "budget.trials", "required by the strategy random"),
    ("budget zero", study(budget={"trials": 0}), "budget.trials", "at least 1"),
    ("budget of a grid zero", study("iris-grid", budget={"trials": 0}), "budget.trials", "at least 1"),
    ("no seconds", study(budget={"trials": 5, "seconds": 0}), "budget.seconds", "above 0"),
    ("half a trial", study(budget={"trials": 1.5}), "budget.trials", "whole number"),
    ("unknown field of the budget", study(budget={"trials": 5, "hours": 1}), "budget.hours", "valid are trials, seconds, gpu_seconds"),
    ("grid over a continuum", grid(warmup=number(0, 0.3)), "space.warmup", "give levels"),
    ("grid too large", grid(weight_decay=number(0, 1, levels=1000), warmup=number(0, 0.3, levels=1000)), "space", "24,000,000 points"),
    ("parallelism zero", study(parallelism=0), "parallelism", "at least 1"),
    ("failures below zero", study(max_failed=-1), "max_failed", "at least 0"),
    ("unknown report", study(report="mean"), "report", "valid are last, best"),
    ("unknown execution", study(execution="threads"), "execution", "valid are auto, single, population"),
    ("population of commands", study(objective={"name": "mine"}, execution="population"), "execution", "leave execution out, or give single"),
    ("population of clients' trials", study(objective={"external": True}, execution="population"), "execution", "no recipe"),
    ("label no text", study(labels={"team": 1}), "labels.team", "a string"),
    ("name too long", study(name="n" * 129), "name", "128"),
    ("name empty", study(name=""), "name", "empty"),
    ("name blank", study(name="  "), "name", "blank"),
    ("name with control characters", study(name="a\x07"), "name", "control"),
    ("name missing", study(name=None), "name", "required"),
    ("parameter name too long", study(space={"p" * 129: number(0, 1)}), "space." + "p" * 128 + "...", "128"),
    ("parameter name with control characters", study(space={"p\x00": number(0, 1)}), r"space.p\x00", "control"),
    ("metric name too long", study(metrics=[{"name": "m" * 129, "goal": "minimize"}]), "metrics[0].name", "128"),
    ("unknown field", study(epochs=3), "epochs", "valid are name, objective"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "path", "says"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input(raw: Study, path: str, says: str) -> None:
    faults = faults_of(raw)
    assert [fault for fault in faults if fault.path == path and says in fault.message], faults
    assert all(fault.message and fault.message.isprintable() for fault in faults)


@pytest.mark.parametrize("raw", [None, 1, "study", [], [1], True, math.nan])
def test_no_study_at_all(raw: object) -> None:
    assert len(faults_of(raw)) == 1


def test_a_single_fault_is_a_single_fault() -> None:
    assert [fault.path for fault in faults_of(study(objective__name="x"))] == ["objective"]
    assert [fault.path for fault in faults_of(study(space__lr=number(math.nan, 1)))] == ["space.lr.low"]
    assert [fault.path for fault in faults_of(study(budget=None))] == ["budget.trials"]
    assert [fault.path for fault in faults_of(study(name="a\x00"))] == ["name"]
    assert [fault.path for fault in faults_of(study(search={"strategy": "x"}))] == ["search.strategy"]


EVERYTHING_WRONG: dict[str, object] = {
    "name": "x\x00",
    "zzz": 1,
    "objective": {"recipe": "classifier", "data": "digit", "network": {"kind": "rnn"}, "epochs": 0, "momentum": 2},
    "metrics": [{"name": "v", "goal": "up"}, {"name": "val_loss", "goal": "minimize", "x": 1}],
    "space": {
        "optimizer": choice("sgd", "bogus"),
        "lr": number(-1, math.inf, scale="log"),
        "alpha": {"type": "catgorical"},
        "opt": {"type": "catgorical"},
        "warmup": number(2, 1, when={"zz": [1], "optimizer": ["adamm"]}),
        "batch_size": choice(16, 16.0, 8.5),
    },
    "search": {"strategy": "random", "seed": -1},
    "pruning": {"kind": "asha", "reduction": 1, "z": 2},
    "budget": {"seconds": 0},
    "parallelism": 0,
}


def test_all_faults_at_once() -> None:
    assert {fault.path for fault in faults_of(EVERYTHING_WRONG)} == {
        "name",
        "zzz",
        "objective.data",
        "objective.network.kind",
        "objective.epochs",
        "objective.momentum",
        "metrics[0].name",
        "metrics[0].goal",
        "metrics[1].x",
        "space.optimizer.choices[1]",
        "space.lr.low",
        "space.lr.high",
        "space.alpha.type",
        "space.opt.type",
        "space.opt",
        "space.warmup.low",
        "space.warmup.high",
        "space.warmup.when.zz",
        "space.warmup.when.optimizer[0]",
        "space.batch_size.choices[1]",
        "space.batch_size.choices[2]",
        "search.seed",
        "pruning.reduction",
        "pruning.z",
        "budget.seconds",
        "budget.trials",
        "parallelism",
    }


def test_faults_come_in_the_same_order_every_time() -> None:
    assert faults_of(EVERYTHING_WRONG) == faults_of(copy.deepcopy(EVERYTHING_WRONG))


def _places(value: object, path: tuple[str | int, ...] = ()) -> Iterable[tuple[str | int, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*path, key))


STRANGE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["float", "log", "sgd"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "low", "when", "k"]), inner),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.sampled_from(sorted(EVERY)), st.data())
def test_any_value_anywhere_is_accepted_or_refused(name: str, data: st.DataObject) -> None:
    """Whatever stands wherever, the answer is a definition or faults with paths, never another error."""
    raw: Any = copy.deepcopy(EVERY[name])
    for _ in range(data.draw(st.integers(1, 2))):
        *parents, last = data.draw(st.sampled_from(list(_places(raw))))
        place = raw
        for key in parents:
            place = place[key]
        place[last] = data.draw(STRANGE)
    definition, faults = _parsed(raw)
    if definition is None:
        assert faults
        json.dumps([[fault.path, fault.message] for fault in faults]).encode()
    else:
        assert parse_study(definition.model_dump(mode="json")) == definition


def _parsed(raw: object) -> tuple[StudyDefinition | None, tuple[Fault, ...]]:
    try:
        return parse_study(raw), ()
    except InvalidStudy as refused:
        return None, refused.faults


@pytest.mark.parametrize(
    ("objective", "execution", "together"),
    [
        (None, "auto", True),
        (None, "population", True),
        (None, "single", False),
        ({"name": "mine"}, "auto", False),
        ({"external": True}, "single", False),
    ],
)
def test_trials_of_recipes_are_trained_together(objective: Any, execution: str, together: bool) -> None:
    more = {"objective": objective} if objective else {}
    assert parse_study(study(execution=execution, **more)).in_population == together
