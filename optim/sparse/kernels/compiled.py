"""The compiled loops of sparse training: which neurons fire, what they say, how they are moved, and lists of who may fire.

Arrays are float32 and C-contiguous: weights (m, d), inputs (n, d), signs (m, C). A batch is `numbers` (B,), int64: rows of the
inputs. What fires for it is kept padded: `neurons` (B, K) int32 rise within a row, `heights` (B, K) are their inner products,
`counts` (B,) int64 tell how many there are. Each loop works on rows `first` to `last`, so that threads share a batch without
meeting; `move` works on a range of neurons instead, of which no other thread writes. `kernels.plain` has the same with
tensor operations.

What is no number is over everything, and shows in all that follows that a run has diverged: comparisons are written for that.
"""

import numpy as np
from numpy.typing import NDArray

from ...jit import compiled
from .plain import ROUNDING

Floats = NDArray[np.float32]
Neurons = NDArray[np.int32]
Counts = NDArray[np.int64]

# Where all rows together are more numbers than a core's part of the last cache holds, and at least so many examples share
# them, they are worked on so many numbers at a time.
LARGE, MANY, CACHED = 2**21, 32, 2**17


@compiled
def merged(own: Neurons, extra: Neurons, into: Neurons) -> int:
    """Write the union of two rising lists into a third; return its length."""
    i = j = k = 0
    while i < len(own) or j < len(extra):
        take = own[i] if j == len(extra) or (i < len(own) and own[i] <= extra[j]) else extra[j]
        into[k] = take
        k += 1
        i += i < len(own) and own[i] == take
        j += j < len(extra) and extra[j] == take
    return k


@compiled
def dots(weights: Floats, x: Floats, neurons: Neurons, into: Floats) -> None:
    """Write the inner products of one input with the rows of these neurons."""
    j, most = 0, len(neurons)
    # Four at a time: loads of one row need not wait for the sum of another.
    while j + 4 <= most:
        a, b, c, e = neurons[j], neurons[j + 1], neurons[j + 2], neurons[j + 3]
        s0 = s1 = s2 = s3 = np.float32(0)
        for k in range(len(x)):
            s0 += weights[a, k] * x[k]
            s1 += weights[b, k] * x[k]
            s2 += weights[c, k] * x[k]
            s3 += weights[e, k] * x[k]
        into[j], into[j + 1], into[j + 2], into[j + 3] = s0, s1, s2, s3
        j += 4
    # The rest in the same way, so that a product is the same number wherever it stands in a list.
    while j < most:
        a = neurons[j]
        s0 = s1 = s2 = s3 = np.float32(0)
        for k in range(len(x)):
            s0 += weights[a, k] * x[k]
            s1 += weights[a, k] * x[k]
            s2 += weights[a, k] * x[k]
            s3 += weights[a, k] * x[k]
        into[j] = s0
        j += 1


@compiled
def fire(
    weights: Floats,
    inputs: Floats,
    numbers: Counts,
    entries: Neurons,
    lengths: Counts,
    extra: Neurons,
    threshold: float,
    neurons: Neurons,
    heights: Floats,
    counts: Counts,
    first: int,
    last: int,
) -> int:
    """Report who of the listed and the extra neurons fires; return how many were tried.

    All examples are asked about some neurons before the next ones, whose rows so stay in the cache.
    """
    tried, width, rows = 0, weights.shape[0], last - first
    tile = _tile(weights, rows)
    merging = np.empty((rows if len(extra) else 0, entries.shape[1] + len(extra)), np.int32)
    sizes, taken = np.empty(rows, np.int64), np.zeros(rows, np.int64)
    for row in range(rows):
        number = numbers[first + row]
        sizes[row] = lengths[number]
        if len(extra):
            sizes[row] = merged(entries[number, : lengths[number]], extra, merging[row])
        tried += sizes[row]
        counts[first + row] = 0
    reached = np.empty(sizes.max() if rows else 0, np.float32)
    for begin in range(0, width, tile):
        for row in range(rows):
            number, k = numbers[first + row], counts[first + row]
            own = merging[row] if len(extra) else entries[number]
            own = own[taken[row] : sizes[row]]
            if begin + tile < width:
                own = own[: np.searchsorted(own, begin + tile)]
            dots(weights, inputs[number], own, reached)
            counts[first + row] = k + _kept(own, reached, threshold, neurons[first + row, k:], heights[first + row, k:])
            taken[row] += len(own)
    return tried


@compiled
def _tile(weights: Floats, examples: int) -> int:
    """Return how many rows are worked on at a time: so many as stay in a near cache, or all."""
    together = examples < MANY or weights.size < LARGE
    tile: int = max(1, weights.shape[0]) if together else max(64, CACHED // weights.shape[1])
    return tile


@compiled
def _kept(own: Neurons, reached: Floats, threshold: float, neurons: Neurons, heights: Floats) -> int:
    """Write those over the threshold; `heights` may be `reached` itself."""
    k = 0
    for j in range(len(own)):
        neurons[k], heights[k] = own[j], reached[j]
        k += not (reached[j] <= threshold)
    return k


@compiled
def scan(
    products: Floats,
    begin: int,
    threshold: float,
    neurons: Neurons,
    heights: Floats,
    counts: Counts,
    first: int,
    last: int,
) -> None:
    """Report who fires of the neurons from `begin`, by their inner products (B, T). There must be room for T more in each row."""
    for row in range(first, last):
        k = counts[row]
        for t in range(products.shape[1]):
            neurons[row, k], heights[row, k] = begin + t, products[row, t]
            k += not (products[row, t] <= threshold)
        counts[row] = k


@compiled
def speak(
    neurons: Neurons,
    heights: Floats,
    counts: Counts,
    signs: Floats,
    threshold: float,
    squared: bool,
    outputs: NDArray[np.float64],
    first: int,
    last: int,
) -> None:
    """Write the sums over active neurons of sign times activation, (B, C)."""
    for row in range(first, last):
        outputs[row] = 0.0
        for j in range(counts[row]):
            above = heights[row, j] - threshold
            value = above * above if squared else above
            for c in range(signs.shape[1]):
                outputs[row, c] += signs[neurons[row, j], c] * value


@compiled
def move(
    weights: Floats,
    inputs: Floats,
    numbers: Counts,
    neurons: Neurons,
    heights: Floats,
    counts: Counts,
    signs: Floats,
    pulls: Floats,
    threshold: float,
    squared: bool,
    paths: Floats,
    allowance: float,
    beyond: Neurons,
    first: int,
    last: int,
) -> int:
    """Subtract from the row of each active neuron pull (B, C) times sign times slope times input, example by example.

    `paths` (m,) grow by how far each was moved. Write neurons whose path passed the allowance; return how many.
    """
    found, tile = 0, _tile(weights, len(numbers))
    taken = np.empty(len(numbers), np.int64)
    for row in range(len(numbers)):
        taken[row] = np.searchsorted(neurons[row, : counts[row]], first)
    for begin in range(first, last, tile):
        end = min(begin + tile, last)
        for row in range(len(numbers)):
            x = inputs[numbers[row]]
            own = neurons[row, : counts[row]]
            while taken[row] < len(own) and own[taken[row]] < end:
                j = taken[row]
                taken[row] += 1
                r = own[j]
                pull = np.float32(0)
                for c in range(signs.shape[1]):
                    pull += pulls[row, c] * signs[r, c]
                if squared:
                    pull *= np.float32(2) * (heights[row, j] - np.float32(threshold))
                for k in range(len(x)):
                    weights[r, k] -= pull * x[k]
                before = paths[r]
                paths[r] = before + abs(pull)
                if before <= allowance and not (paths[r] <= allowance):
                    beyond[found] = r
                    found += 1
    return found


@compiled
def collect(
    products: Floats, begin: int, floor: float, entries: Neurons, lengths: Counts, first: int, last: int
) -> None:
    """Append to the list of each input the neurons from `begin` whose inner products (n, T) are over the floor.

    There must be room for T more in each list.
    """
    for number in range(first, last):
        k = lengths[number]
        for t in range(products.shape[1]):
            entries[number, k] = begin + t
            k += not (products[number, t] <= floor)
        lengths[number] = k


@compiled
def insert(
    products: Floats, fresh: Neurons, floor: float, entries: Neurons, lengths: Counts, first: int, last: int
) -> None:
    """Put neurons `fresh` (T,), which rise, into the lists where their inner products (n, T) are over the floor.

    Where they are listed already they stay. There must be room for T more in each list.
    """
    missing = np.empty(len(fresh), np.int32)
    for number in range(first, last):
        own, length = entries[number], lengths[number]
        place = k = 0
        for t in range(len(fresh)):
            if not (products[number, t] <= floor):
                place += np.searchsorted(own[place:length], fresh[t])
                if place == length or own[place] != fresh[t]:
                    missing[k] = fresh[t]
                    k += 1
        # From the end, so that each entry is moved once.
        lengths[number] = length + k
        while k > 0:
            k -= 1
            while length > 0 and own[length - 1] > missing[k]:
                own[length + k] = own[length - 1]
                length -= 1
            own[length + k] = missing[k]


@compiled
def settle(weights: Floats, snapshot: Floats, beyond: Neurons, reach: float, paths: Floats, strays: Neurons) -> int:
    """Let the path of each row in `beyond` be its distance from the snapshot, where that is within reach.

    The others have strayed: their paths are infinite. Write them; return how many.
    """
    k = 0
    for j in range(len(beyond)):
        r, total = beyond[j], np.float32(0)
        for c in range(weights.shape[1]):
            apart = weights[r, c] - snapshot[r, c]
            total += apart * apart
        paths[r] = np.sqrt(total) * np.float32(ROUNDING)
        if not paths[r] < reach:
            paths[r] = np.inf
            strays[k] = r
            k += 1
    return k


@compiled
def strongest(neurons: Neurons, heights: Floats, counts: Counts, most: int, first: int, last: int) -> None:
    """Keep of each row the `most` highest, of equals the first."""
    for row in range(first, last):
        reached = heights[row, : counts[row]]
        if len(reached) <= most:
            continue
        least = np.partition(reached, len(reached) - most)[len(reached) - most]
        spare = most - np.sum(~(reached <= least))
        k = 0
        for j in range(len(reached)):
            equal = reached[j] == least
            if not (reached[j] <= least) or (equal and spare > 0):
                spare -= equal
                neurons[row, k], heights[row, k] = neurons[row, j], reached[j]
                k += 1
        counts[row] = k
