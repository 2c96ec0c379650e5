"""The trainer `sparse_sgd`: finds who is active, moves those rows alone, and keeps what finds them true for the next step.

Which way a step is taken is the tuner's choice; all of them take the same step.
"""

import time
from dataclasses import replace

import torch
from torch import Tensor

from .back_ends.dense import Dense
from .back_ends.interface import BackEnd, Counters
from .back_ends.margin_lists import MarginLists, preview
from .back_ends.table import BACK_ENDS, DEFAULT_SLACK, TOO_LARGE, Options
from .checks import check_on_sphere, check_rows
from .costs import Spent, Survey
from .kernels.interface import Kernels
from .sgd import Batch, Clock, Model, dense_step, sparse_step
from .tuner import DENSE, LISTS, SCAN, Limits, Tuner

# A smaller factor on all weights is put into them, lest both leave the numbers. Where a selective activation looks for the
# highest is told in their own measure, which is kept for as long as numbers allow.
_LEAST_SCALE, _LEAST_SELECTIVE = 1e-2, 1e-12
# So many inputs tell what lists would be. How long it takes to build them is told by the fastest of so many looks.
_LOOKED_AT, _LOOKS = 64, 5
# A dense step holds so many numbers for each pair of example and neuron.
_DENSE_COPIES = 3
# As weights decay the threshold rises over what lists hold. Over so many times the slack they hold too much.
_MOST_REACH = 2.0


class SparseSgd:
    """Steps a model. `counters` and `building` (seconds) say what it took.

    Raise ValueError for inputs that are not on the unit sphere, for which lists would miss neurons, and where lists, or a
    tree, are the only way allowed, and do not fit into memory.
    """

    def __init__(
        self, model: Model, kernels: Kernels, *, slack: float = DEFAULT_SLACK, limits: Limits | None = None
    ) -> None:
        check_rows(model.layer.inputs, "input")
        check_on_sphere(model.layer.inputs)
        self.model = model
        self.counters = Counters()
        self.building = 0.0
        self._kernels = kernels
        self._limits = Limits() if limits is None else limits
        self._tuner = Tuner(self._limits, slack=slack)
        self._scan = Dense(model.layer, kernels, self.counters)
        self._lists: BackEnd | None = None
        self._built = 0.0
        self._last_build = 0.0
        self._owed = 0.0
        self._scanned = 0
        self._drift = 0.0
        self._batch_size = 1
        # One thread's own seconds are not lengthened by what else the machine does.
        alone = kernels.threads == 1 and torch.get_num_threads() == 1
        self._clock: Clock = time.thread_time if alone else time.perf_counter
        self._prepare()

    @property
    def way(self) -> str:
        """How the next step is taken."""
        return self._tuner.way

    @property
    def slack(self) -> float:
        """How far below the threshold lists reach, if there are any."""
        return self._tuner.slack

    def step(self, batch: Batch) -> Tensor:
        """Take a step; return the losses (B,) of the batch."""
        self._batch_size = len(batch.numbers)
        if _DENSE_COPIES * 4 * self._batch_size * len(self.model.layer.weights) > self._limits.bytes:
            self._tuner.forbid(DENSE)
        losses, spent = self._step(batch)
        # What the tuner did not ask for it is told of.
        self._tuner.take(replace(spent, keeping=spent.keeping + self._owed), self._look)
        self._owed = 0.0
        self._tend()
        self._prepare()
        return losses

    def _step(self, batch: Batch) -> tuple[Tensor, Spent]:
        way, keeper = self.way, self._lists or self._scan
        if way == DENSE:
            return dense_step(self.model, batch, keeper, self._clock)
        self._scanned += way == SCAN and self._lists is None
        finder: BackEnd = self._scan if way == SCAN else keeper
        return sparse_step(self.model, batch, finder, keeper, self._kernels, self._clock)

    def _tend(self) -> None:
        """Fold a small scale, and leave what has become too long or too large."""
        lists, threshold = self._lists, self.model.threshold
        least = _LEAST_SELECTIVE if self.model.network.activation.selective else _LEAST_SCALE
        if self.model.scale < least:
            factor = self.model.fold()
            threshold = self.model.threshold
            if isinstance(lists, MarginLists):
                lists.fold(factor)
            else:
                self._lists = None
        if not isinstance(lists, MarginLists):
            return
        if lists.bytes > self._limits.bytes:
            if self._limits.ways == (LISTS,):
                raise ValueError(f"margin lists have grown to {lists.bytes / 2**20:.0f} MiB: {TOO_LARGE}")
            self._tuner.forbid(LISTS)
        elif lists.allowance(threshold) > _MOST_REACH * self._built:
            self._lists = None

    def _prepare(self) -> None:
        """Have the lists there that the next steps are to be taken with, or the tree, and no others."""
        wanted = self._tuner.listed
        if wanted is None:
            if self._lists is not None:  # paths were those since it was built
                self.model.layer.paths.zero_()
            self._lists, self._built = None, 0.0
        elif self._lists is None or self._built != wanted:
            again = self._built == wanted
            self._lists, self._built = self._build(wanted), wanted
            self._owed = self._last_build if again else 0.0

    def _build(self, slack: float) -> BackEnd:
        began, options = self._clock(), Options(self.model.threshold, slack, self._limits.bytes)
        lists = BACK_ENDS[self._tuner.structure](self.model.layer, self._kernels, self.counters, options)
        self._last_build = self._clock() - began
        self.building += self._last_build
        return lists

    def _look(self, slack: float) -> Survey:
        """Look at what lists of a slack would be."""
        layer, counters, times = self.model.layer, self.counters, []
        for _ in range(1 if self._last_build else _LOOKS):
            began = self._clock()
            ahead = preview(layer, self.model.threshold - slack, most_inputs=_LOOKED_AT)
            times.append(self._clock() - began)
        self._measure_drift()
        active = counters.active / (counters.queries * len(layer.weights))
        return Survey(
            active=active,
            listed=ahead.shares.mean().item(),
            updates=active * self._batch_size,
            drift=self._drift / slack,
            building=self._last_build or min(times) / ahead.sampled,
            bytes=ahead.bytes(layer),
            looking=sum(times),
        )

    def _measure_drift(self) -> None:
        """Take how far a mean row's path grew with each step since the last look, if steps were taken that tell."""
        if self._lists is None and self._scanned:
            self._drift = self.model.layer.paths.mean().item() / self._scanned
            self.model.layer.paths.zero_()
            self._scanned = 0
