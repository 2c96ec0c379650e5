"""A member of a lane takes the steps that it takes alone, whoever is beside it."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from optim import catalog
from tests.training.recorder import Recorder
from training import loop
from training.course import Run
from training.data.bundled import load
from training.data.examples import Data, Examples, InMemory
from training.networks.base import Network
from training.networks.table import build_network
from training.plan import Plan, plan_of
from training.population.lane import Lane
from training.population.programs import Taken
from training.state import snapshot
from training.watch import Ending, Pause

CPU = torch.device("cpu")
MLP = {"kind": "mlp", "hidden": [8]}
CNN = {"kind": "cnn", "channels": [4]}
MATRIX = {"muon", "soap", "kbfgs"}
# Conjugate gradients make more of rounding with each iteration.
LOOSE = MATRIX | {"hessian_free"}
EPOCHS = 3


def doubled(data: Data) -> Data:
    """Return the first 200 examples of either part, in float64."""

    def some(examples: Examples) -> InMemory:
        inputs, targets = next(iter(examples.blocks(200)))
        return InMemory(inputs.double(), targets)

    return replace(data, train=some(data.train), val=some(data.val))


def double(network: Network) -> Network:
    return replace(network, init=lambda generator: [param.double() for param in network.init(generator)])


DIGITS = doubled(load("digits"))


def plan(optimizer: str, *, epochs: int = EPOCHS, **options: Any) -> Plan:
    return plan_of({"epochs": epochs}, {"optimizer": optimizer, "batch_size": 48, **options})


def rate(optimizer: str) -> float:
    option = {option.name: option for option in catalog.OPTIMIZERS[optimizer].options}["lr"]
    return float(option.search_low or option.default)  # type: ignore[arg-type]


class Keeper(Recorder):
    """Keeps measurements, and is told to stop after a number of looks."""

    def __init__(self, *, looks: int | None = None) -> None:
        super().__init__()
        self._left = looks

    def between(self) -> Pause:
        if self._left is None:
            return Pause.NONE
        self._left -= 1
        return Pause.STOP if self._left < 0 else Pause.NONE


def alone(network: Network, given: Plan, seed: int) -> tuple[Ending, Keeper]:
    watch = Keeper()
    return loop.train(network, DIGITS, given, seed=seed, watch=watch), watch


def member(network: Network, given: Plan, seed: int, watch: Keeper) -> Run:
    return loop.start(network, DIGITS, given, seed=seed, watch=watch)


def together(network: Network, plans: list[Plan], *, at_once: int) -> list[tuple[Ending, Keeper]]:
    """Train all of them in one lane of `at_once` members, a new one taking the place of each that leaves."""
    lane = Lane(network, DIGITS)
    waiting = [member(network, given, seed, Keeper()) for seed, given in enumerate(plans)]
    everyone = list(waiting)
    endings: dict[Run, Ending] = {}
    while waiting or lane.runs:
        free = at_once - len(lane.runs)
        if free and waiting:
            lane.join(waiting[:free])
            waiting = waiting[free:]
        endings.update(lane.advance())
    return [(endings[each], each.watch) for each in everyone]  # type: ignore[misc]


def agree(one: Keeper, other: Keeper, *, relative: float, leaps: float | None = None) -> None:
    """Their measurements agree; the sizes of their steps to `leaps`, where that is another matter."""
    assert [step for step, _ in one.seen] == [step for step, _ in other.seen]
    for (_, ours), (_, theirs) in zip(one.seen, other.seen, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            within = leaps if leaps is not None and name == "update_ratio" else relative
            assert value == pytest.approx(theirs[name], rel=within, abs=1e-10), name


@pytest.mark.parametrize("spec", [MLP, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", sorted(catalog.OPTIMIZERS))
def test_a_member_equals_the_run_alone(optimizer: str, spec: dict[str, Any]) -> None:
    """Members of two rules, with rates, schedules and warm-ups of their own; two wait until others have left."""
    exact = {"bfloat16": False} if optimizer == "muon" else {}
    schedules: list[dict[str, Any]] = [
        {"schedule": "cosine", "warmup": 0.3},
        {},
        {"schedule": "step", "clip_norm": 0.5},
        {"ema": 0.9},
    ]
    plans = [
        plan(optimizer, lr=rate(optimizer) * (1 + index), **exact, **given) for index, given in enumerate(schedules)
    ] + [plan("momentum", lr=0.01, momentum=0.5), plan("momentum", lr=0.02)]
    network = double(build_network(spec, DIGITS))
    for seed, ((ending, watch), given) in enumerate(zip(together(network, plans, at_once=4), plans, strict=True)):
        alone_ending, alone_watch = alone(network, given, seed)
        assert ending == alone_ending
        agree(watch, alone_watch, relative=1e-6 if optimizer in LOOSE else 1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"decay_patience": 0, "decay_threshold": 0.9, "schedule": "plateau"},
        {"swa_start": 0.4},
        {"clip_layer_norm": 0.1},
        {"clip_value": 0.01},
        {"batch_mode": "full"},
        {"batch_mode": "single"},
    ],
    ids=lambda options: next(reversed(options)),
)
def test_what_a_plan_may_ask_for_besides_is_each_members_own(options: dict[str, Any]) -> None:
    network = double(build_network(MLP, DIGITS))
    plans = [plan("adam", lr=0.01, **options), plan("adam", lr=0.003), plan("momentum", lr=0.02, **options)]
    for seed, ((ending, watch), given) in enumerate(zip(together(network, plans, at_once=2), plans, strict=True)):
        alone_ending, alone_watch = alone(network, given, seed)
        assert ending == alone_ending
        agree(watch, alone_watch, relative=1e-10)


STEPS = 200
MANY = 16
# Rates at which rounding stays small over so many steps. Prodigy sets its own by what it measures, and at its default of
# 1 that blows rounding up to 3e-10; K-BFGS makes its matrices of its steps, and at a rate of 0.006 that does so to 1e-4.
CALM = {"prodigy": 0.5, "kbfgs": 0.001}
# Newton's method divides by curvature and damping together, which at a damping of 1 may come near zero: rounding grows to
# 3e-10 on the CNN then.
STEADY: dict[str, dict[str, Any]] = {"muon": {"bfloat16": False}, "newton": {"damping": 10.0}}


@pytest.mark.slow
@pytest.mark.timeout(1800)  # whole Hessians of every member at every step
@pytest.mark.parametrize("spec", [MLP, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", sorted(catalog.OPTIMIZERS))
def test_two_hundred_steps_among_sixteen_equal_the_run_alone(optimizer: str, spec: dict[str, Any]) -> None:
    """Others finish, diverge and are replaced around those that are watched, with batches of other sizes."""
    exact = STEADY.get(optimizer, {})
    low = CALM.get(optimizer, rate(optimizer))
    watched = [
        plan(optimizer, epochs=STEPS // 5, lr=low, **exact),
        plan(optimizer, epochs=STEPS // 5, lr=2 * low, schedule="cosine", warmup=0.2, **exact),
        plan(optimizer, epochs=STEPS // 5, lr=low, clip_norm=0.5, weight_decay=0.01, **exact),
        plan(optimizer, epochs=STEPS // 8, lr=low, batch_size=25, **exact),
    ]
    companions = [
        plan("momentum", epochs=1 + number, lr=0.01 if number % 3 else 1e6, batch_size=48 if number % 2 else 32)
        for number in range(28)
    ]
    network = double(build_network(spec, DIGITS))
    seen = together(network, [*watched, *companions], at_once=MANY)
    assert {ending.outcome for ending, _ in seen} == {"completed", "diverged"}
    for seed, (given, (ending, watch)) in enumerate(zip(watched, seen[: len(watched)], strict=True)):
        alone_ending, alone_watch = alone(network, given, seed)
        assert ending == alone_ending
        # SOAP steps in a basis that rounding has its say in: a step may be longer while the loss is the same.
        leaps = 1e-3 if optimizer == "soap" else None
        agree(watch, alone_watch, relative=1e-6 if optimizer in LOOSE else 1e-10, leaps=leaps)


@pytest.mark.parametrize("spec", [MLP, CNN], ids=["mlp", "cnn"])
def test_one_that_diverges_leaves_the_others_as_they_are(spec: dict[str, Any]) -> None:
    """Bit for bit while the lane keeps its size: it is stepped beside a sound one in its place, and beside one that breaks."""
    network = double(build_network(spec, DIGITS))
    sound, broken = plan("sgd", lr=0.05), plan("sgd", lr=1e6, weight_decay=1e6)

    def run(beside: Plan) -> list[torch.Tensor]:
        lane = Lane(network, DIGITS)
        watched = member(network, sound, 1, Keeper())
        lane.join([watched, member(network, beside, 2, Keeper())])
        for _ in range(2):
            taken = Taken.nothing(2)
            lane._program.step(lane._stacks, (), taken)
            assert taken.steps[0] > 0
        lane._take_out(watched)
        return watched.state.params

    for one, other in zip(run(sound), run(broken), strict=True):
        assert torch.equal(one, other)

    (first, _), (second, _) = together(network, [sound, broken], at_once=2)
    assert first.outcome == "completed"
    assert second.outcome == "diverged"


@pytest.mark.gpu
@pytest.mark.parametrize("spec", [MLP, CNN], ids=["mlp", "cnn"])
@pytest.mark.parametrize("optimizer", sorted(set(catalog.OPTIMIZERS) - MATRIX))
def test_members_on_a_device_equal_runs_on_the_cpu(optimizer: str, spec: dict[str, Any]) -> None:
    """In float64; matrix rules break ties of their own on a device."""
    network, device = double(build_network(spec, DIGITS)), torch.device("cuda")
    plans = [plan(optimizer, lr=rate(optimizer)), plan(optimizer, lr=2 * rate(optimizer), schedule="cosine")]
    data = DIGITS.to(device)
    runs = [
        loop.start(network, data, given, seed=seed, watch=Keeper(), device=device) for seed, given in enumerate(plans)
    ]
    lane = Lane(network, data)
    lane.join(runs)
    while lane.runs:
        lane.advance()
    for seed, (run, given) in enumerate(zip(runs, plans, strict=True)):
        agree(run.watch, alone(network, given, seed)[1], relative=1e-7)  # type: ignore[arg-type]


def test_a_member_that_is_stopped_leaves_and_the_others_go_on() -> None:
    network = double(build_network(MLP, DIGITS))
    lane = Lane(network, DIGITS)
    stays, goes = member(network, plan("adam"), 1, Keeper()), member(network, plan("adam"), 2, Keeper(looks=2))
    lane.join([stays, goes])
    ended: dict[Run, Ending] = {}
    steps = 0
    while goes not in ended:
        ended.update(lane.advance())
        steps += 1
    assert steps == 3
    assert ended[goes] == Ending("stopped")
    assert lane.runs == [stays]
    while lane.runs:
        ended.update(lane.advance())
    assert ended[stays] == Ending("completed")
    agree(stays.watch, alone(network, plan("adam"), 1)[1], relative=1e-10)  # type: ignore[arg-type]


def test_what_is_taken_out_of_a_lane_is_the_members_own() -> None:
    """Or a checkpoint of one would hold the memory of all."""
    network = double(build_network(MLP, DIGITS))
    lane = Lane(network, DIGITS)
    lane.join([member(network, plan("adam"), seed, Keeper()) for seed in range(3)])
    lane.advance()
    for each in lane.runs:
        lane._take_out(each)
        for tensor in snapshot(each.state)["tensors"]:
            assert tensor.untyped_storage().nbytes() == tensor.nbytes
