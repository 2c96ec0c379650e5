"""Dense layers trained by compiled loops: forward, backward and the optimizer's step of one member after another.

Batched tensor operations pay for each call and send every intermediate through memory once more. A small member's
parameters, gradients and batch stay in the processor's first cache from one step to the next instead, and many steps of
many members are one call. Matrix products are those of BLAS, on one thread; the loops release the interpreter's lock.
What `training.networks.dense` and `optim.in_place` do with tensors is the plain form of what is done here.

Shapes: P members with D parameters each, widths w_0 (inputs) to w_L (outputs), N examples.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optim.jit import compiled
from training.monitors import SAMPLED

RELU, TANH = 0, 1
# So many examples are evaluated at a time: their outputs stay in the cache.
BLOCK = 64
STAY, SGD, MOMENTUM, NESTEROV, ADAM = 0, 1, 2, 3, 4


class Batches(NamedTuple):
    """The next batches of P members, each as many and as large as it has: `steps` of `sizes` (P,) examples, the last maybe less.

    Their `numbers` follow each other, those of a member from `starts[p]` to `starts[p + 1]`. So many batches were `taken`
    (P,) of the epoch.
    """

    numbers: NDArray[np.int64]
    starts: NDArray[np.int64]
    steps: NDArray[np.int64]
    sizes: NDArray[np.int64]
    taken: NDArray[np.int64]


def scratch(widths: NDArray[np.int64], largest: int, numbers: int, dtype: Any) -> tuple[NDArray[Any], ...]:  # noqa: ANN401
    """Return what `train` writes to on its way, for batches of at most `largest` examples and rows of so many numbers."""
    slopes = np.empty((2, largest * int(widths.max())), dtype)
    return np.empty(largest * int(widths.sum()), dtype), slopes, np.empty(numbers, dtype)


@compiled
def train(
    widths: NDArray[np.int64],
    activation: int,
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    values: NDArray[Any],
    batches: Batches,
    rows: NDArray[Any],
    grads: NDArray[Any],
    moves: Any,  # noqa: ANN401 - a `training.compiled.moves.Moves`
    begin: int,
    end: int,
    offset: int,
    since: int,
    until: int,
    losses: NDArray[np.float64],
    readings: NDArray[np.float64],
    kept: NDArray[Any],
    slopes: NDArray[Any],
    before: NDArray[Any],
) -> None:
    """Take steps of members from `begin` to before `end` of P: their rows (P, D), gradients (P, D) and state are overwritten.

    Of the steps that each has in its batches, those from `since` to before `until`. The members' `moves` are counted from
    `offset` on. Inputs (N, w_0) belong to classes, `labels` (N,), or where that is empty to numbers, `values` (N,). Mean
    losses (steps, P) are written; what `training.monitors.look` would see at every SAMPLED-th batch of an epoch is added
    to the `readings` (P, 3). What is `kept` of a batch, its `slopes` and the row `before` its step is written to arrays of
    the caller's, see `scratch`, so that nothing can fail behind the first step.
    """
    for member in range(begin, end):
        row, grad, size = rows[member], grads[member], batches.sizes[member]
        last = batches.starts[member + 1]
        for step in range(since, min(until, batches.steps[member])):
            first = batches.starts[member] + step * size
            numbers = batches.numbers[first : min(first + size, last)]
            _gather(inputs, numbers, kept)
            _forward(row, widths, activation, len(numbers), kept)
            losses[step, member] = _head(kept, widths, labels, values, numbers)
            _backward(row, grad, widths, activation, len(numbers), kept, slopes)
            due = (batches.taken[member] + step) % SAMPLED == 0
            if due:
                before[:] = row
                norm, reach = _gauge(grad, widths)
                readings[member, 0] += norm
                readings[member, 2] += reach
            _move(row, grad, moves, member - offset, step)
            if due:
                readings[member, 1] += _change(row, before)


@compiled
def evaluate(
    widths: NDArray[np.int64],
    activation: int,
    inputs: NDArray[Any],
    labels: NDArray[np.int64],
    values: NDArray[Any],
    rows: NDArray[Any],
    found: NDArray[np.float64],
) -> None:
    """Write into `found` (P, 2) the mean loss of each member, and the mean of its measure.

    Of classes that is the share of those that were given right, of numbers the absolute error.
    """
    everyone, block = len(inputs), min(BLOCK, len(inputs))
    kept, numbers = np.empty(block * widths.sum(), rows.dtype), np.arange(everyone)
    for member in range(len(rows)):
        found[member] = 0
        for first in range(0, everyone, block):
            some = numbers[first : first + block]
            _gather(inputs, some, kept)
            _forward(rows[member], widths, activation, len(some), kept)
            found[member, 1] += _measure(_last(kept, widths, len(some)), labels, values, some)
            found[member, 0] += _head(kept, widths, labels, values, some) * len(some)
        found[member] /= everyone


@compiled
def _last(kept: NDArray[Any], widths: NDArray[np.int64], count: int) -> NDArray[Any]:
    """Return the outputs of the last layer (count, w_L)."""
    high = widths[-1]
    first = count * (widths.sum() - high)
    return kept[first : first + count * high].reshape(count, high)


@compiled
def _measure(
    outputs: NDArray[Any], labels: NDArray[np.int64], values: NDArray[Any], numbers: NDArray[np.int64]
) -> float:
    """Return the sum of what is measured of each example."""
    total = 0.0
    for place in range(len(numbers)):
        if len(labels):
            total += outputs[place].argmax() == labels[numbers[place]]
        else:
            total += abs(outputs[place, 0] - values[numbers[place]])
    return total


@compiled
def _gather(inputs: NDArray[Any], numbers: NDArray[np.int64], kept: NDArray[Any]) -> None:
    """Copy a batch's inputs to the beginning of what is kept."""
    features = inputs.shape[1]
    for place in range(len(numbers)):
        kept[place * features : (place + 1) * features] = inputs[numbers[place]]


@compiled
def _forward(row: NDArray[Any], widths: NDArray[np.int64], activation: int, count: int, kept: NDArray[Any]) -> None:
    """Keep the outputs of every layer (count, w_l), one after the other behind the inputs."""
    first, weights = 0, 0
    for layer in range(len(widths) - 1):
        wide, high = widths[layer], widths[layer + 1]
        second, bias = first + count * wide, weights + high * wide
        outputs = kept[second : second + count * high].reshape(count, high)
        np.dot(kept[first:second].reshape(count, wide), row[weights:bias].reshape(high, wide).T, outputs)
        _activate(outputs, row[bias : bias + high], activation if layer < len(widths) - 2 else -1)
        first, weights = second, bias + high


@compiled
def _activate(outputs: NDArray[Any], bias: NDArray[Any], activation: int) -> None:
    """Add the bias and apply the activation in place; none for -1."""
    count, high = outputs.shape
    for place in range(count):
        for unit in range(high):
            outputs[place, unit] += bias[unit]
    if activation == RELU:
        for place in range(count):
            for unit in range(high):
                if outputs[place, unit] <= 0:  # noqa: PLR1730 - false of what is no number, which must stay
                    outputs[place, unit] = 0
    elif activation == TANH:
        for place in range(count):
            for unit in range(high):
                outputs[place, unit] = np.tanh(outputs[place, unit])


@compiled
def _head(
    kept: NDArray[Any],
    widths: NDArray[np.int64],
    labels: NDArray[np.int64],
    values: NDArray[Any],
    numbers: NDArray[np.int64],
) -> float:
    """Return the mean loss, and put its slope by the last outputs into their place."""
    outputs = _last(kept, widths, len(numbers))
    if len(labels):
        return _cross_entropy(outputs, labels, numbers)
    return _squared_error(outputs, values, numbers)


@compiled
def _cross_entropy(outputs: NDArray[Any], labels: NDArray[np.int64], numbers: NDArray[np.int64]) -> float:
    count, classes = outputs.shape
    loss = 0.0
    for place in range(count):
        largest = outputs[place].max()
        label = labels[numbers[place]]
        loss += largest - outputs[place, label]
        total = 0.0
        for unit in range(classes):
            outputs[place, unit] = np.exp(outputs[place, unit] - largest)
            total += outputs[place, unit]
        loss += np.log(total)
        for unit in range(classes):
            outputs[place, unit] /= total * count
        outputs[place, label] -= 1 / count
    return float(loss / count)


@compiled
def _squared_error(outputs: NDArray[Any], values: NDArray[Any], numbers: NDArray[np.int64]) -> float:
    count = len(outputs)
    loss = 0.0
    for place in range(count):
        apart = outputs[place, 0] - values[numbers[place]]
        loss += apart * apart
        outputs[place, 0] = 2 * apart / count
    return float(loss / count)


@compiled
def _backward(
    row: NDArray[Any],
    grad: NDArray[Any],
    widths: NDArray[np.int64],
    activation: int,
    count: int,
    kept: NDArray[Any],
    slopes: NDArray[Any],
) -> None:
    """Write the gradients, from the slopes by the last outputs that stand at the end of what was kept."""
    last = len(widths) - 1
    first, weights = count * (widths.sum() - widths[last]), len(row)
    slope = _last(kept, widths, count)
    for layer in range(last - 1, -1, -1):
        wide, high = widths[layer], widths[layer + 1]
        first, bias = first - count * wide, weights - high
        weights = bias - high * wide
        given = kept[first : first + count * wide].reshape(count, wide)
        np.dot(slope.T, given, grad[weights:bias].reshape(high, wide))
        _add_up(slope, grad[bias : bias + high])
        if layer > 0:
            below = slopes[layer % 2, : count * wide].reshape(count, wide)
            np.dot(slope, row[weights:bias].reshape(high, wide), below)
            _through(below, given, activation)
            slope = below


@compiled
def _add_up(slope: NDArray[Any], total: NDArray[Any]) -> None:
    """Write the sum over examples."""
    total[:] = 0
    for place in range(slope.shape[0]):
        for unit in range(slope.shape[1]):
            total[unit] += slope[place, unit]


@compiled
def _through(slope: NDArray[Any], outputs: NDArray[Any], activation: int) -> None:
    """Turn slopes by a layer's outputs into those by what went into its activation."""
    count, wide = slope.shape
    if activation == RELU:
        for place in range(count):
            for unit in range(wide):
                if outputs[place, unit] <= 0:
                    slope[place, unit] = 0
    else:
        for place in range(count):
            for unit in range(wide):
                slope[place, unit] *= 1 - outputs[place, unit] * outputs[place, unit]


@compiled
def _gauge(grad: NDArray[Any], widths: NDArray[np.int64]) -> tuple[float, float]:
    """Return the norm of the gradients, and the smallest of a layer's weights over the largest, by root mean squares."""
    total, largest, smallest, first = 0.0, 0.0, np.inf, 0
    for layer in range(len(widths) - 1):
        high = widths[layer + 1]
        bias = first + widths[layer] * high
        of_weights, of_bias = _squares(grad[first:bias]), _squares(grad[bias : bias + high])
        total += of_weights + of_bias
        smallest = min(smallest, of_weights / (bias - first))
        largest = max(largest, of_weights / (bias - first), of_bias / high)
        first = bias + high
    return np.sqrt(total), np.sqrt(smallest / largest) if largest > 0 else 1.0


@compiled
def _squares(values: NDArray[Any]) -> float:
    total = 0.0
    for place in range(len(values)):
        total += values[place] * values[place]
    return total


@compiled
def _change(row: NDArray[Any], before: NDArray[Any]) -> float:
    """Return how far the parameters moved, over how large they were."""
    moved, size = 0.0, 0.0
    for place in range(len(row)):
        moved += (row[place] - before[place]) ** 2
        size += before[place] * before[place]
    return np.sqrt(moved / size) if size > 0 else 0.0


@compiled
def _move(row: NDArray[Any], grad: NDArray[Any], moves: Any, member: int, step: int) -> None:  # noqa: ANN401
    """Step one member as `optim.in_place` does."""
    kind = moves.kind
    if kind == STAY:
        return
    lr, decay = moves.lr[step, member], moves.decay[member]
    one, two = moves.one[member], moves.two[member]
    if kind == SGD:
        for k in range(len(row)):
            row[k] += lr * (grad[k] + decay * row[k])
    elif kind == MOMENTUM:
        velocity = moves.first[member]
        for k in range(len(row)):
            velocity[k] = one * velocity[k] + (grad[k] + decay * row[k])
            row[k] += lr * velocity[k]
    elif kind == NESTEROV:
        velocity = moves.first[member]
        for k in range(len(row)):
            slope = grad[k] + decay * row[k]
            velocity[k] = one * velocity[k] + slope
            row[k] += lr * (slope + one * velocity[k])
    elif kind == ADAM:
        mean, square = moves.first[member], moves.second[member]
        kept, eps = moves.kept[step, member], moves.eps[step, member]
        for k in range(len(row)):
            value = kept * row[k]
            slope = grad[k] + decay * value
            mean[k] += one * (slope - mean[k])
            square[k] += two * (slope * slope - square[k])
            row[k] = value + lr * (mean[k] / (np.sqrt(square[k]) + eps))
