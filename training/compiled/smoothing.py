"""The losses of many members smoothed by a compiled loop: what `training.monitors.Gauges` does for one run."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from optim.jit import compiled
from training.monitors import FAR_OVER, LEAST_STEPS, OVER, SMOOTHED_EXAMPLES, WITHOUT_LOW

Floats: TypeAlias = NDArray[np.float64]


@compiled
def follow(
    losses: Floats,
    steps: NDArray[np.int64],
    counts: NDArray[np.int64],
    lasts: NDArray[np.int64],
    limit: Floats,
    total: Floats,
    smooth: Floats,
    weight: Floats,
    over: Floats,
    since_low: Floats,
    lowest: Floats,
) -> NDArray[np.int64]:
    """Take losses (steps, P) of as many `steps` as each took; return (P,) the step at which each broke, -1 for none.

    Each is the mean over `counts` (P,) examples, that of the last step over `lasts`. The readings (P,) are moved on in
    place, up to that step. The loss of one that breaks is no number, or was smoothed over its `limit` and has found no way
    back. `total` adds up losses by example.
    """
    broken = np.full(len(steps), -1)
    for place in range(len(steps)):
        for step in range(steps[place]):
            loss, count = losses[step, place], lasts[place] if step == steps[place] - 1 else counts[place]
            window = max(LEAST_STEPS, SMOOTHED_EXAMPLES / count)
            if not np.isfinite(loss):
                broken[place] = step
                break
            smooth[place] += (loss - smooth[place]) / window
            weight[place] += (1 - weight[place]) / window
            total[place] += loss * count
            level = smooth[place] / weight[place]
            if level <= limit[place]:
                over[place], since_low[place], lowest[place] = 0, 0, np.inf
                continue
            over[place] += 1
            since_low[place] = 0 if level < lowest[place] else since_low[place] + 1
            lowest[place] = min(lowest[place], level)
            late = since_low[place] >= WITHOUT_LOW * window or over[place] >= OVER * window
            if late or level > FAR_OVER * limit[place]:
                broken[place] = step
                break
    return broken
