"""What a run costs and what it comes to on examples that it never saw: for studies that compare methods.

A measured run is trained alone, so that its seconds are its own. Time is that of training batches, without evaluation.
Memory on a CPU is how far the process's resident set rose over what it held before there were parameters: so the network,
its optimizer and what a batch needs count, and the interpreter, torch and the data do not. On a GPU it is the allocator's.
"""

import ctypes
import gc
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.networks.base import Spec

MEGABYTE = 1e6
_LOW = 1e-9  # of a clock that may stand still


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured: `test` is the share of the training examples that is held out, `target` a metric's value to reach."""

    test: float
    metric: str | None = None
    target: float = math.nan
    higher: bool = True

    def reached(self, values: Mapping[str, float]) -> bool:
        """Say whether an epoch's values reach the target."""
        if self.metric is None:
            return False
        if self.metric not in values:
            raise ValueError(
                f"measured.target.metric {self.metric!r} is not reported; valid: {', '.join(sorted(values))}"
            )
        value = values[self.metric]
        return value >= self.target if self.higher else value <= self.target


@dataclass(slots=True)
class Meter:
    """What a run has cost so far; it goes with the run's checkpoints. `best` is the lowest validation loss of an epoch.

    `before` is what this process held before the run (`begin_measuring`), another one's after a break.
    """

    seconds: float = 0.0
    examples: int = 0
    steps: int = 0
    before: float = 0.0
    peak: float = 0.0
    best: float = math.inf
    tested: dict[str, float] = field(default_factory=dict)
    reached: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def batch(self, examples: int) -> Iterator[None]:
        """Time the training of a batch."""
        began = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - began
        self.examples, self.steps = self.examples + examples, self.steps + 1

    def tests(self, val_loss: float) -> bool:
        """Say whether the epoch is the best so far, and to be tested; remember it if so."""
        if not val_loss < self.best:
            return False
        self.best = val_loss
        return True

    def take(self, measured: Measured, values: Mapping[str, float], *, device: torch.device) -> None:
        """Take an epoch's values."""
        self.peak = max(self.peak, peak_memory(device) - self.before)
        if not self.reached and measured.reached(values):
            self.reached = {"steps_to_target": float(self.steps), "seconds_to_target": self.seconds}

    def values(self, optimizer: float) -> dict[str, float]:
        """Return what is reported, the optimizer's own state being so many megabytes."""
        speed = {"examples_per_second": self.examples / max(self.seconds, _LOW)}
        memory = {"peak_memory": self.peak, "optimizer_memory": optimizer}
        return {**speed, **memory, **self.tested, **self.reached}


def measured_of(objective: Spec) -> Measured | None:
    """Read what an objective wants to have measured. Raise ValueError naming what is valid."""
    given: Any = objective.get("measured")
    if given is None:
        return None
    test, target = given.get("test", 0.2), given.get("target") or {}
    if not 0 < test < 1:
        raise ValueError(f"objective.measured.test must be a share in (0, 1), got {test!r}")
    return Measured(
        test, target.get("metric"), target.get("value", math.nan), target.get("goal", "maximize") == "maximize"
    )


def begin_measuring(device: torch.device) -> float:
    """Forget the highest memory of what ran before in this process; return what it still holds in megabytes, 0 on a GPU.

    What others freed is given back to the system first, as it would hide what is taken from now on.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return 0.0
    gc.collect()
    with suppress(OSError, AttributeError):  # not on every system
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS:")


def peak_memory(device: torch.device) -> float:
    """Return the highest memory in megabytes: of the CUDA allocator, or the process's resident set on a CPU; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MEGABYTE
    return _resident("VmHWM:")


def _resident(field: str) -> float:
    """Return a field of the process's memory in megabytes; 0 where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024 / MEGABYTE
    return 0.0


def held(state: Any) -> float:  # noqa: ANN401 - tensors in any nest of sequences
    """Return how many megabytes the tensors of an optimizer's state take."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size() / MEGABYTE
    return sum(held(part) for part in state)
