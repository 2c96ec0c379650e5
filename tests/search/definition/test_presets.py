"""Presets: what is recommended for optimizers takes the place of their names."""

import itertools
import json
from typing import Any

import pytest

from optim.catalog import COMMON, OPTIMIZERS, SCHEDULES, OptimizerInfo, Option, ScheduleInfo
from search.definition import presets
from search.definition.parse import StudyDefinition, parse_study
from search.errors import Fault, InvalidStudy
from search.space.parameters import FloatParameter, IntParameter

Study = dict[str, Any]
MANY = 1000


def study(preset: object, trials: int = MANY, objective: Study | None = None, **space: Study | None) -> Study:
    """Return a study with this preset, further entries of its space and further fields of its objective."""
    return {
        "name": "preset",
        "objective": {
            "recipe": "classifier",
            "data": "iris",
            "network": {"kind": "mlp", "hidden": [8]},
            "epochs": 5,
            **(objective or {}),
        },
        "metrics": [{"name": "val_loss", "goal": "minimize"}],
        "space": {"preset": preset, **space},
        "search": {"strategy": "random", "seed": 1},
        "budget": {"trials": trials},
    }


def number(low: float, high: float, **more: Any) -> Study:
    return {"type": "float", "low": low, "high": high, **more}


def space_of(raw: Study) -> Study:
    """Return the space as it is stored."""
    stored: Study = parse_study(raw).model_dump(mode="json")["space"]
    return stored


def faults_of(raw: Study) -> list[Fault]:
    with pytest.raises(InvalidStudy) as refused:
        parse_study(raw)
    return list(refused.value.faults)


def recommended(name: str, option: str) -> Option:
    return next(found for found in OPTIMIZERS[name].options if found.name == option)


def test_one_optimizer() -> None:
    assert space_of(study("adamw", 10)) == {
        "optimizer": {"type": "categorical", "choices": ["adamw"]},
        "lr": number(1e-4, 1e-2, scale="log"),
        "beta1": number(0.5, 0.98, scale="reverse_log"),
        "weight_decay": number(5e-3, 1.0, scale="log"),
        "warmup": number(0.0, 0.1, scale="linear"),
    }
    assert space_of(study(["adamw"], 10)) == space_of(study("adamw", 10))


@pytest.mark.parametrize(
    ("trials", "names"),
    [
        (1, {"lr"}),
        (9, {"lr"}),
        (10, {"lr", "beta1", "weight_decay", "warmup"}),
        (25, {"lr", "beta1", "weight_decay", "warmup", "eps"}),
        (100, {"lr", "beta1", "weight_decay", "warmup", "eps", "beta2"}),
    ],
)
def test_the_budget_decides_how_much_is_searched(trials: int, names: set[str]) -> None:
    assert space_of(study("adamw", trials)).keys() == names | {"optimizer"}


def test_several_optimizers() -> None:
    space = space_of(study(["sgd", "momentum", "adam"], 10))
    assert space["optimizer"] == {"type": "categorical", "choices": ["sgd", "momentum", "adam"]}
    assert space["lr"] == number(1e-4, 1.0, scale="log")
    assert space["weight_decay"] == number(1e-7, 1e-3, scale="log")
    assert space["momentum"] == number(0.7, 0.995, scale="reverse_log", when={"optimizer": ["momentum"]})
    assert space["beta1"] == number(0.5, 0.98, scale="reverse_log", when={"optimizer": ["adam"]})
    assert space.keys() == {"optimizer", "lr", "weight_decay", "momentum", "beta1", "warmup"}


def test_scales_that_differ() -> None:
    """A linear range of momentum, from 0, joins one that resolves values near 1."""
    linear, reverse = recommended("rmsprop", "momentum"), recommended("momentum", "momentum")
    assert (linear.scale, reverse.scale) == ("linear", "reverse_log")
    space = space_of(study(["rmsprop", "momentum", "sgd"]))
    ends = (linear.search_low, reverse.search_high)
    assert space["momentum"] == number(*ends, scale="reverse_log", when={"optimizer": ["rmsprop", "momentum"]})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scales", "ends", "scale"),
    [
        (("linear", "log"), (0.1, 2.0), "log"),
        (("linear", "log"), (0.0, 2.0), "linear"),
        (("log", "reverse_log"), (0.1, 0.9), "reverse_log"),
        (("log", "reverse_log"), (0.1, 1.0), "log"),
        (("linear", "linear"), (0.1, 0.9), "linear"),
    ],
)
def test_the_scale_that_resolves_most_wins_where_it_can(
    scales: tuple[str, str], ends: tuple[float, float], scale: str
) -> None:
    low, high = ends
    options = [
        Option("x", "float", 0.5, 0.0, 9.0, search_low=low, search_high=0.5, scale=scales[0]),
        Option("x", "float", 0.5, 0.0, 9.0, search_low=0.5, search_high=high, scale=scales[1]),
    ]
    assert presets._parameter(options) == number(low, high, scale=scale)


@pytest.mark.parametrize("trials", [1, 10, 25, MANY])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_gets_what_is_recommended_for_it(name: str, trials: int) -> None:
    space = parse_study(study(name, trials)).space
    for option in (*OPTIMIZERS[name].options, *COMMON.values()):
        wanted = option.search_low is not None and option.search_from <= trials
        assert (option.name in space) is wanted
        if wanted:
            parameter = space[option.name]
            assert isinstance(parameter, FloatParameter | IntParameter)
            assert (parameter.low, parameter.high) == (option.search_low, option.search_high)
            assert (parameter.scale, parameter.when) == (option.scale, None)
            assert isinstance(parameter, IntParameter if option.kind == "int" else FloatParameter)


@pytest.mark.parametrize("pair", list(itertools.combinations(OPTIMIZERS, 2)), ids=" and ".join)
def test_every_two_go_together(pair: tuple[str, str]) -> None:
    """The space holds both ranges, has each option where its optimizer is chosen, and is a valid study."""
    space = parse_study(study(list(pair))).space
    for name in pair:
        for option in OPTIMIZERS[name].options:
            if option.search_low is None or option.search_high is None:
                continue
            parameter = space[option.name]
            assert isinstance(parameter, FloatParameter | IntParameter)
            assert parameter.low <= option.search_low <= option.search_high <= parameter.high
            assert parameter.when is None or name in parameter.when["optimizer"]


# What the literature searches: optimizer -> option -> (low, high). A weight near 1 stands there as its distance from 1.
FIELD: dict[str, dict[str, tuple[float, float]]] = {
    "sgd": {"lr": (1e-3, 1.0), "weight_decay": (1e-7, 1e-3)},
    "momentum": {"lr": (1e-3, 1.0), "momentum": (5e-3, 0.3), "weight_decay": (1e-7, 5e-5)},
    "nesterov": {"lr": (1e-3, 1.0), "momentum": (5e-3, 0.3), "weight_decay": (1e-7, 5e-5)},
    "adamw": {"lr": (1e-4, 1e-2), "beta1": (2e-2, 0.5), "beta2": (1e-4, 0.1), "weight_decay": (5e-3, 1.0), "eps": (1e-10, 1e-3)},
    "nadamw": {"lr": (1e-4, 1e-2), "beta1": (4e-3, 0.1), "weight_decay": (5e-3, 1.0)},
    "rmsprop": {"lr": (1e-5, 1e-2), "alpha": (1e-2, 0.1), "weight_decay": (1e-6, 1e-2)},
    "adagrad": {"lr": (1e-3, 1.0), "initial_accumulator_value": (0.0, 0.1)},
    "adadelta": {"lr": (0.1, 3.0), "rho": (1e-2, 0.1)},
    "adafactor": {"lr": (1e-4, 1e-2), "weight_decay": (1e-3, 1.0)},
    "soap": {"lr": (3e-4, 1e-2), "precondition_frequency": (1, 100)},
    "muon": {"lr": (2e-3, 0.1), "momentum": (1e-2, 0.1)},
    "lion": {"lr": (1e-5, 3e-3), "weight_decay": (1e-2, 10.0)},
    "schedule_free_adamw": {"lr": (1e-3, 1e-2), "beta1": (2e-2, 0.1), "weight_decay": (1e-2, 0.1)},
    "prodigy": {"d_coef": (0.1, 10.0)},
}  # fmt: skip


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, options in FIELD.items() for option in options])
def test_presets_search_what_the_field_searches(name: str, option: str) -> None:
    parameter = parse_study(study(name)).space[option]
    assert isinstance(parameter, FloatParameter | IntParameter)
    found = (parameter.low, parameter.high)
    if parameter.scale == "reverse_log":
        found = (1 - parameter.high, 1 - parameter.low)
    assert found == pytest.approx(FIELD[name][option])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_has_a_preset_for_few_trials_and_for_many(name: str) -> None:
    """With few trials it is the one size of the step, on a log scale; with more, decay and what is remembered too."""
    few, many = (parse_study(study(name, trials)).space for trials in (5, MANY))
    (step,) = few.keys() - {"optimizer"}
    assert step in {"lr", "d_coef"}
    assert getattr(few[step], "scale", None) == "log"
    assert {"weight_decay", "warmup"} <= many.keys()


def test_a_name_means_one_thing() -> None:
    """Options of one name have one range wherever they stand, or a preset of several could not search them all."""
    ranges: dict[str, set[str]] = {}
    for info in OPTIMIZERS.values():
        for option in info.options:
            ranges.setdefault(option.name, set()).add(option.range)
    assert {name: found for name, found in ranges.items() if len(found) > 1} == {}


def test_all_go_together() -> None:
    space = parse_study(study(list(OPTIMIZERS))).space
    for name, parameter in space.items():
        holders = [each for each, info in OPTIMIZERS.items() if any(o.name == name for o in info.options)]
        assert set((parameter.when or {}).get("optimizer", holders)) <= set(holders)


def test_what_is_recommended_can_be_posted() -> None:
    """Only numbers have a recommended range; a preset would have no parameter for another kind."""
    infos: list[OptimizerInfo | ScheduleInfo] = [*OPTIMIZERS.values(), *SCHEDULES.values()]
    options = [option for info in infos for option in info.options] + list(COMMON.values())
    ranged = [option for option in options if option.search_low is not None or option.search_high is not None]
    assert {option.kind for option in ranged} <= {"float", "int"}
    assert [option.name for option in ranged if option.search_low is None or option.search_high is None] == []


def test_a_fixed_optimizer_is_not_searched() -> None:
    space = space_of(study("adamw", 10, {"optimizer": "adamw"}))
    assert space.keys() == {"lr", "beta1", "weight_decay", "warmup"}


def test_what_is_fixed_is_not_searched() -> None:
    space = space_of(study("adamw", 10, {"lr": 1e-3, "weight_decay": 0.1, "beta1": None}))
    assert space.keys() == {"optimizer", "beta1", "warmup"}


def test_a_length_of_warm_up_in_steps_takes_the_place_of_a_fraction() -> None:
    assert "warmup" in space_of(study("sgd"))
    assert "warmup" not in space_of(study("sgd", objective={"warmup_steps": 3}))
    steps = {"type": "int", "low": 0, "high": 4, "scale": "linear"}
    space = space_of(study("sgd", warmup_steps=steps))
    assert "warmup" not in space
    assert space["warmup_steps"] == steps
    assert "warmup" in space_of(study("sgd", warmup_steps=None))


def test_entries_of_the_space_override_and_add() -> None:
    mine = number(0.01, 0.02, scale="linear")
    batch = {"type": "categorical", "choices": [8, 16]}
    space = space_of(study(["adamw", "sgd"], 10, lr=mine, batch_size=batch))
    assert (space["lr"], space["batch_size"]) == (mine, batch)
    assert space.keys() == {"optimizer", "lr", "batch_size", "beta1", "weight_decay", "warmup"}


def test_an_entry_may_depend_on_what_the_preset_brings() -> None:
    mine = number(0.9, 0.99, scale="linear", when={"optimizer": ["adamw"]})
    assert space_of(study(["adamw", "sgd"], beta2=mine))["beta2"] == mine


def test_null_leaves_a_recommendation_out() -> None:
    space = space_of(study("adamw", 10, warmup=None, beta1=None, beta2=None))
    assert space.keys() == {"optimizer", "lr", "weight_decay"}


def test_the_stored_study_no_longer_needs_the_preset() -> None:
    definition = parse_study(study(["adamw", "muon"], 50))
    stored = json.loads(json.dumps(definition.model_dump(mode="json"), sort_keys=True))
    assert "preset" not in stored["space"]
    assert parse_study(stored) == StudyDefinition.model_validate(stored) == definition
    more = parse_study({**stored, "budget": {"trials": MANY}})
    assert more.space == definition.space


def test_a_grid_takes_a_preset_whose_ranges_have_levels() -> None:
    grid = study(
        ["sgd", "momentum"],
        lr=number(0.01, 0.1, levels=3),
        momentum=number(0.5, 0.9, levels=2, when={"optimizer": ["momentum"]}),
    )
    definition = parse_study({**grid, "search": {"strategy": "grid"}, "budget": {}})
    assert definition.trials == 3 + 3 * 2


def crowded(count: int) -> Study:
    """Return a study with so many parameters of names that nothing has, beside its preset."""
    raw = study("sgd")
    raw["space"] |= {f"x{index}": number(0, 1) for index in range(count)}
    return raw


NAMES = f"valid are {', '.join(OPTIMIZERS)}"
BAD: list[tuple[str, Study, dict[str, str]]] = [
    ("unknown", study("adamm"), {"space.preset": f"unknown optimizer 'adamm'; {NAMES}"}),
    ("unknown of several", study(["sgd", "adamm", "x"]), {"space.preset[1]": NAMES, "space.preset[2]": "unknown optimizer 'x'"}),
    ("a schedule", study("cosine"), {"space.preset": NAMES}),
    ("no names", study([]), {"space.preset": f"must not be empty; {NAMES}"}),
    ("a name twice", study(["sgd", "sgd"]), {"space.preset[1]": "listed already"}),
    ("a number", study(7), {"space.preset": "must be the name of an optimizer, or a list"}),
    ("a number in the list", study(["sgd", 7]), {"space.preset[1]": "must be the name of an optimizer"}),
    ("null", study(None), {"space.preset": "must be the name of an optimizer"}),
    ("an object", study(number(0, 1)), {"space.preset": "no hyperparameter 'preset'"}),
    ("a control character", study("a\0"), {"space.preset": "control", "space": "at least one"}),
    ("another is fixed", study("adamw", objective={"optimizer": "sgd"}), {"space.preset": "the objective fixes the optimizer"}),
    ("one of several is fixed", study(["adamw", "sgd"], objective={"optimizer": "sgd"}), {"space.preset": "drop it there"}),
    ("optimizer beside it", study("adamw", optimizer={"type": "categorical", "choices": ["sgd"]}), {"space.optimizer": "name the optimizers in space.preset alone"}),
    ("optimizer dropped", study("adamw", optimizer=None), {"space.optimizer": "chosen by the preset"}),
    ("dropping what it has not", study("adamw", momentum=None), {"space.momentum": "it knows batch_mode, batch_size, beta1"}),
    ("nothing left", study("sgd", 5, {"optimizer": "sgd"}, lr=None), {"space.preset": "nothing left to bring"}),
    ("a grid", {**study("sgd", 20), "search": {"strategy": "grid"}}, {"space.preset": "brings ranges for lr, warmup, weight_decay, and a grid needs points"}),
    ("no budget", {**study("sgd"), "budget": {}}, {"budget.trials": "required"}),
    ("too many parameters", crowded(62), {"space.preset": "makes 66 parameters"} | {f"space.x{index}": "no hyperparameter" for index in range(62)}),
    ("no recipe", {**study("sgd"), "objective": {"external": True}}, {"space.preset": "is known for recipes alone"}),
    ("no registered recipe", {**study("sgd"), "objective": {"name": "mine"}}, {"space.preset": "is known for recipes alone"}),
    ("without an objective", {name: part for name, part in study("sgd").items() if name != "objective"}, {"objective": "required"}),
    ("an entry with a fault", study("sgd", lr=number(1, 0.1)), {"space.lr.low": "must not be above high"}),
    ("an entry without its condition", study(["sgd", "adam"], beta1=number(0.5, 0.9)), {"space.beta1.when": "add `when: {optimizer: [adam]}`"}),
    ("an entry under another's condition", study(["sgd", "adam"], beta1=number(0.5, 0.9, when={"optimizer": ["lion"]})), {"space.beta1.when.optimizer[0]": "not a value of that parameter"}),
    ("null without it", study("sgd", lr=None) | {"space": {"lr": None, "warmup": number(0, 0.1)}}, {"space.lr": "an object"}),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "expected"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_presets(raw: Study, expected: dict[str, str]) -> None:
    faults = faults_of(raw)
    found = {fault.path: fault.message for fault in faults}
    assert (found.keys(), len(faults)) == (expected.keys(), len(expected))
    assert [path for path, part in expected.items() if part not in found[path]] == []
    assert all(message.isprintable() for message in found.values())


def test_a_parameter_of_that_name_stays_possible_where_names_are_free() -> None:
    raw = {**study(number(0.0, 1.0, scale="linear")), "objective": {"external": True}}
    assert space_of(raw) == {"preset": number(0.0, 1.0, scale="linear")}


def test_faults_of_what_was_brought_point_at_the_preset() -> None:
    added = {"lr", "optimizer"}
    lifted = presets.blame(Fault("space.lr.low", "must be above 0"), added)
    assert lifted == Fault("space.preset", "brings lr.low, which must be above 0")
    for own in (Fault("space.beta1.low", "x"), Fault("objective.lr", "x"), Fault("space", "x")):
        assert presets.blame(own, added) == own


def test_a_fault_of_a_study_with_a_preset_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a recommended range not a valid one, the fault would be found and name what the user wrote."""
    broken = Option("lr", "float", 0.1, 0.0, 1.0, search_low=0.1, search_high=2.0)
    brought = {"sgd": {"lr": presets._parameter([broken])}}
    monkeypatch.setattr(presets, "_recommended", lambda chosen, _: brought[chosen[0]])
    monkeypatch.setitem(brought["sgd"]["lr"], "low", -1.0)
    (fault,) = faults_of(study("sgd"))
    assert fault.path == "space.preset"
    assert fault.message.startswith("brings lr.low, which must be in (0, 1e+06], got -1")
