"""How long one step of each optimizer takes, beside torch.optim: `python -m benchmarks.optim --json`.

One thread, float32, gradients that stand ready. Two models: the parameters of a small MLP, where calls cost most, and
10^7 parameters, where memory does. Contenders take turns within a round, and each figure is the median over rounds; a
ratio above 1 means that ours is the faster one. `rule` is the pure form that trials train with, `population` is one call
of it for 64 stacked members, beside 64 steps of torch's.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.promises import Promise, line, show, table
from optim import catalog
from optim.build import build, build_rule
from optim.transform import stack

Step = Callable[[], object]

MODELS: Mapping[str, Sequence[tuple[int, ...]]] = {
    "mlp": [(256, 64), (256,), (256, 256), (256,), (10, 256), (10,)],
    "1e7": [(1000, 1000)] * 10,
}
MEMBERS = 64
MEMBER: Sequence[tuple[int, ...]] = [(32, 64), (32,), (10, 32), (10,)]
ROUNDS = {"quick": 7, "standard": 25, "full": 75}
ROUND_SECONDS = 0.02
# Not slower, but for what two measurements of one and the same call differ by here.
NOT_SLOWER = 0.95
PROMISED = ("sgd", "momentum", "adam", "adamw")

# What torch has of ours: class and options that make it the same rule.
PEERS: Mapping[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adadelta": (torch.optim.Adadelta, {}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "adam": (torch.optim.Adam, {}),
    "adamw": (torch.optim.AdamW, {}),
    "nadam": (torch.optim.NAdam, {}),
    "nadamw": (torch.optim.NAdam, {"decoupled_weight_decay": True}),
    "radam": (torch.optim.RAdam, {}),
    "adamax": (torch.optim.Adamax, {}),
    "adafactor": (torch.optim.Adafactor, {}),
    "muon": (torch.optim.Muon, {}),
}
# The others ask about the mini-batch; `benchmarks.precondition` times those.
STEPPED = [name for name in catalog.OPTIMIZERS if not build_rule(name).looks]
# These take seconds for a step of large matrices, and are shown on the small model alone.
SLOW = frozenset({"soap", "muon"})


@dataclass(frozen=True, slots=True)
class Row:
    """The microseconds of one step; None where there is no such thing."""

    name: str
    model: str
    ours: float
    rule: float
    loop: float | None
    foreach: float | None
    fused: float | None


def parameters(shapes: Sequence[tuple[int, ...]], device: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    params = []
    for shape in shapes:
        param = torch.randn(shape, generator=generator).to(device).requires_grad_()
        param.grad = torch.randn(shape, generator=generator).to(device)
        params.append(param)
    return params


def pure_step(name: str, params: list[Tensor], *, members: int = 0) -> Step:
    """Return a step of the rule itself, on stacked members if there are any; it changes the parameters in place."""
    rule = build_rule(name)
    hyper = {
        option.name: torch.tensor(option.default, dtype=torch.float64)
        for option in catalog.OPTIMIZERS[name].options
        if not isinstance(option.default, str | tuple)
    }
    state = rule.init(params)
    grads = [param.grad for param in params if param.grad is not None]
    if members:
        hyper = {key: value.expand(members).clone().to(params[0].device) for key, value in hyper.items()}
        params, grads = (
            [tensor.detach().expand(members, *tensor.shape).clone() for tensor in tensors]
            for tensors in (params, grads)
        )
        state = stack([state] * members)

    @torch.no_grad()
    def step() -> None:
        nonlocal state
        updates, state = rule.update(grads, state, params, hyper)
        for param, update in zip(params, updates, strict=True):
            param.add_(update)

    return step


def torch_step(name: str, shapes: Sequence[tuple[int, ...]], device: str, **how: Any) -> Step | None:  # noqa: ANN401 - as torch takes it
    """Return torch's step of the rule in one of its implementations; None if it has none."""
    if name not in PEERS:
        return None
    kind, options = PEERS[name]
    # Muon of torch takes matrices alone.
    fitting = [shape for shape in shapes if name != "muon" or len(shape) == 2]
    try:
        return kind(parameters(fitting, device), **options, **how).step
    except (TypeError, RuntimeError):
        return None


def median_times(contenders: Mapping[str, Step], rounds: int, device: str) -> dict[str, float]:
    """Return the microseconds that a step of each takes, the contenders taking turns."""
    repeats = {name: _repeats(step, device) for name, step in contenders.items()}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for place in range(rounds):
        names = list(contenders)
        for name in names[place % len(names) :] + names[: place % len(names)]:
            taken[name].append(_seconds(contenders[name], repeats[name], device) / repeats[name])
    return {name: 1e6 * statistics.median(times) for name, times in taken.items()}


def _repeats(step: Step, device: str) -> int:
    _seconds(step, 3, device)
    return max(1, round(ROUND_SECONDS / _seconds(step, 3, device) * 3))


def _seconds(step: Step, count: int, device: str) -> float:
    _wait(device)
    began = time.perf_counter()
    for _ in range(count):
        step()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


TORCH: Mapping[str, Mapping[str, bool]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}


def contenders(name: str, shapes: Sequence[tuple[int, ...]], device: str, *, turned: bool) -> dict[str, Step]:
    """Make all that is compared, each with parameters of its own; `turned` makes them in the opposite order."""
    makers: dict[str, Callable[[], Step | None]] = {
        "ours": lambda: build(name, parameters(shapes, device)).step,
        "rule": lambda: pure_step(name, parameters(shapes, device)),
        **{kind: partial(torch_step, name, shapes, device, **how) for kind, how in TORCH.items()},
    }
    made = {kind: makers[kind]() for kind in (reversed(makers) if turned else makers)}
    return {kind: step for kind, step in made.items() if step is not None}


def single(rounds: int, device: str) -> Iterator[Row]:
    """Time each rule on each model; the better of two layouts in memory, which decides about a tenth, counts."""
    for model, shapes in MODELS.items():
        for name in STEPPED:
            if name in SLOW and model != "mlp":
                continue
            tries = [
                median_times(contenders(name, shapes, device, turned=turned), rounds, device)
                for turned in (False, True)
            ]
            times = {kind: min(each[kind] for each in tries) for kind in tries[0]}
            yield Row(name, model, times["ours"], times["rule"], *(times.get(kind) for kind in TORCH))


def population(rounds: int, device: str) -> Iterator[tuple[str, float, float | None]]:
    """Time one step of 64 stacked members, and 64 steps of torch's faster implementation."""
    for name in STEPPED:
        stacked = {
            "population": pure_step(name, parameters(MEMBER, device), members=MEMBERS),
            "loop": torch_step(name, MEMBER, device, foreach=False),
            "foreach": torch_step(name, MEMBER, device, foreach=True),
        }
        times = median_times({key: step for key, step in stacked.items() if step is not None}, rounds, device)
        theirs = [times[key] for key in ("loop", "foreach") if key in times]
        yield name, times["population"], MEMBERS * min(theirs) if theirs else None


def ratio(theirs: float | None, ours: float) -> float | None:
    return None if theirs is None else theirs / ours


def shown(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optim", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_const", dest="size", const="quick", default="standard")
    size.add_argument("--full", action="store_const", dest="size", const="full")
    parser.add_argument("--json", action="store_true", help="print the promises as one last line of JSON")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rounds = ROUNDS[asked.size]
    rows, stacked = list(single(rounds, device)), list(population(rounds, device))
    print(f"torch {torch.__version__} on {device}, one thread; microseconds a step")
    heads = ("optimizer", "model", "ours", "rule", "loop", "foreach", "fused", "foreach/ours", "loop/rule")
    print(table(heads, [
        (row.name, row.model, row.ours, row.rule, row.loop, row.foreach, row.fused,
         shown(ratio(row.foreach, row.ours)), shown(ratio(row.loop, row.rule))) for row in rows
    ]))  # fmt: skip
    print(f"\n{MEMBERS} members, one call; beside {MEMBERS} steps of torch")
    print(
        table(
            ("optimizer", "population", "torch", "torch/ours"),
            [(*row, shown(ratio(row[2], row[1]))) for row in stacked],
        )
    )
    promises = [
        Promise(f"{row.name} on {row.model}: time of foreach over ours", ratio(row.foreach, row.ours), NOT_SLOWER)
        for row in rows
        if row.name in PROMISED
    ]
    print(show(promises))
    if asked.json:
        print(line("optim", promises))


if __name__ == "__main__":
    main()
