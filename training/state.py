"""Where a training run stands between two batches, and the snapshot of it that a checkpoint holds.

A snapshot is a dict of numbers and of tensors on the CPU, so that it can be read without running anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from torch import Tensor

from training.meter import Meter
from training.monitors import Gauges

Snapshot: TypeAlias = dict[str, Any]

FORMAT = 2


@dataclass(slots=True)
class State:
    """A run between two batches; training changes it in place.

    `rule` is the optimizer's state, `plateau` that of a schedule that follows the validation loss. `order` is the state of the generator of the data order as the epoch began, so
    that the epoch is shuffled alike once more. `initial` is the mean loss before training, `total` the sum of the losses of the epoch's
    examples so far, `gauges` what was watched, `meter` what it has cost if that is measured.
    """

    params: list[Tensor]
    rule: Any
    order: Tensor
    plateau: Any = ()
    initial: float = 0.0
    epoch: int = 0
    batches: int = 0
    total: float = 0.0
    gauges: Gauges = field(default_factory=Gauges)
    meter: Meter | None = None


def snapshot(state: State) -> Snapshot:
    """Return what `restore` needs. The tensors on the CPU are the state's own: write them before training goes on."""
    return {
        "format": FORMAT,
        "tensors": [tensor.detach().cpu() for tensor in _leaves([state.params, state.rule, state.plateau])],
        "order": state.order,
        "initial": state.initial,
        "epoch": state.epoch,
        "batches": state.batches,
        "total": state.total,
        "gauges": asdict(state.gauges),
        "meter": None if state.meter is None else asdict(state.meter),
    }


def fits(state: State, saved: Snapshot) -> bool:
    """Say whether the snapshot is of a run such as this one: its format, and the shapes of all that it learned."""
    if saved.get("format") != FORMAT:
        return False
    own = [(tensor.shape, tensor.dtype) for tensor in _leaves([state.params, state.rule, state.plateau])]
    return own == [(tensor.shape, tensor.dtype) for tensor in saved["tensors"]]


def restore(state: State, saved: Snapshot) -> State:
    """Return the run as it stood at a snapshot that fits; `state`, one just begun, gives structure and devices."""
    params, rule, plateau = _rebuilt([state.params, state.rule, state.plateau], iter(saved["tensors"]))
    return State(
        params=[param.requires_grad_() for param in params],
        rule=rule,
        plateau=plateau,
        order=saved["order"],
        initial=saved["initial"],
        epoch=saved["epoch"],
        batches=saved["batches"],
        total=saved["total"],
        gauges=Gauges(**saved["gauges"]),
        meter=_resumed(state.meter, saved.get("meter")),
    )


def _resumed(meter: Meter | None, saved: Mapping[str, Any] | None) -> Meter | None:
    """Return the meter as it was saved, in a process that holds what `meter` says."""
    if not saved or meter is None:
        return meter
    return replace(Meter(**saved), before=meter.before)


def _leaves(tree: Any) -> Iterator[Tensor]:  # noqa: ANN401 - tensors in any nest of sequences and mappings
    if isinstance(tree, Tensor):
        yield tree
        return
    for part in tree.values() if isinstance(tree, Mapping) else tree:
        yield from _leaves(part)


def _rebuilt(like: Any, tensors: Iterator[Tensor]) -> Any:  # noqa: ANN401 - of the type of `like`
    """Return a nest like `like` of the next tensors, on its devices."""
    if isinstance(like, Tensor):
        # A copy, because memory that torch allocates is aligned, and kernels may round differently where it is not.
        return next(tensors).to(like.device, copy=True)
    if isinstance(like, Mapping):
        return {name: _rebuilt(part, tensors) for name, part in like.items()}
    parts = [_rebuilt(part, tensors) for part in like]
    return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)
