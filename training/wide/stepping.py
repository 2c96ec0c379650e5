"""The batches of a run of a wide two-layer network, stepped by `sparse_sgd`; and what each epoch of them took."""

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from optim.sparse.back_ends.interface import Counters
from optim.sparse.kernels.choice import kernels
from optim.sparse.kernels.interface import Layer
from optim.sparse.settings import Wide
from optim.sparse.sgd import Batch, Model, Slope
from optim.sparse.sphere import report
from optim.sparse.trainer import SparseSgd
from optim.sparse.tuner import DENSE, SCAN, Limits
from training.course import Run
from training.data.examples import InMemory
from training.memory import free_bytes
from training.tasks import Task
from training.watch import Diverged

# Lists may take this share of the memory that is free.
_SHARE = 0.5
# Where so large a part of the neurons is active nothing is sparse. At a threshold of 0 about a half is.
_MOST_ACTIVE = 0.45


@dataclass(slots=True)
class _Epoch:
    """Where counters and seconds of building stood as the epoch began, and what its steps took."""

    counters: Counters
    built: float = 0.0
    seconds: float = 0.0
    steps: int = 0
    listed: int = 0


class Stepper:
    """Steps the batches of one run, from where its state stands."""

    def __init__(self, run: Run, wide: Wide) -> None:
        """Begin. Raise ValueError where the lists that were asked for do not fit into memory."""
        weights, signs = (param.detach() for param in run.state.params)
        self._wide = wide
        self._task: Task = run.course.data.task
        examples = run.course.data.train
        if not isinstance(examples, InMemory):
            raise TypeError("sparse_sgd steps examples in memory: see training.wide.network.on_sphere")
        self._targets = examples.targets
        self._decay = float(run.course.hyper["weight_decay"])
        layer = Layer(weights, examples.inputs, signs, torch.zeros(len(weights)))
        self._model = Model(wide.network, layer, run.state.rule.scale.item())
        left = run.course.plan.until * run.course.batches - run.state.epoch * run.course.batches - run.state.batches
        limits = Limits(wide.ways, left, _SHARE * free_bytes(torch.device("cpu")))
        threads = torch.get_num_threads()
        self._trainer = SparseSgd(self._model, kernels(threads=threads), slack=wide.slack, limits=limits)
        self._spread = report(examples.inputs, threshold=wide.network.threshold).spread
        self._epoch = _Epoch(replace(self._trainer.counters), self._trainer.building)

    def step(self, run: Run, numbers: Tensor, lr: float) -> Tensor:
        """Train a batch; return the losses of its examples (B,)."""
        began = time.perf_counter()
        targets = self._targets[numbers].unsqueeze(0)

        def slope(outputs: Tensor) -> tuple[Tensor, Tensor]:
            losses, slopes = self._task.slope(outputs.T.unsqueeze(0), targets)
            return losses[0], slopes[0].T.contiguous()

        listed = self._trainer.way not in {DENSE, SCAN}
        losses = self._trainer.step(self._batch(numbers, slope, lr))
        run.state.rule.scale.fill_(self._model.scale)
        epoch = self._epoch
        epoch.seconds += time.perf_counter() - began
        epoch.steps, epoch.listed = epoch.steps + 1, epoch.listed + listed
        return losses

    def _batch(self, numbers: Tensor, slope: Slope, lr: float) -> Batch:
        try:
            return Batch(numbers, slope, lr, self._decay)
        except ValueError as error:
            raise Diverged(str(error)) from error

    def end_epoch(self, run: Run) -> dict[str, float]:
        """Return what the epoch's steps came to, by name."""
        epoch, counters = self._epoch, self._trainer.counters
        asked = max(1, counters.queries - epoch.counters.queries) * self._wide.width
        active = (counters.active - epoch.counters.active) / asked
        self._tell(run, active)
        building = self._trainer.building - epoch.built
        self._epoch = _Epoch(replace(counters), self._trainer.building)
        return {
            "active_fraction": active,
            "candidate_fraction": (counters.candidates - epoch.counters.candidates) / asked,
            "refresh_rate": (counters.refreshed - epoch.counters.refreshed) / self._wide.width,
            "listed_steps": epoch.listed / max(1, epoch.steps),
            "build_seconds": self._trainer.building,
            "step_seconds": max(0.0, epoch.seconds - building) / max(1, epoch.steps),
            "input_spread": self._spread,
        }

    def _tell(self, run: Run, active: float) -> None:
        """Note what makes the network pointless, once."""
        network = self._wide.network
        said = f"at the threshold {network.threshold:.3g}"
        if active == 0:
            note = f"no neuron was active in a whole epoch {said}, so nothing is learned: lower it"
        elif active > _MOST_ACTIVE and network.activation.selective:
            note = f"{active:.0%} of the neurons were active: nothing is sparse, a lower active_share is faster"
        elif active > _MOST_ACTIVE:
            note = f"{active:.0%} of the neurons were active {said}: nothing is sparse, a higher one is faster"
        else:
            return
        if note not in run.findings.notes:
            run.findings.notes.append(note)
