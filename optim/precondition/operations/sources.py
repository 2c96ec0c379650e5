"""Curvature of a batch where members may want it from different vectors: sampled ones, all, or the data's own."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from torch import Tensor

from ...rules.matrices import choose
from ...transform import Hyper
from ..batch import SOURCES, Batch
from ..layers import Seen


def from_sources(
    batch: Batch, step: Tensor, hyper: Hyper, estimate: Callable[[Sequence[Seen]], list[Tensor]]
) -> list[Tensor]:
    """Return what `estimate` makes of what is seen from each member's `fisher` source with its number of `samples`."""
    return merged(looks(batch, step, hyper), estimate)


def looks(batch: Batch, step: Tensor, hyper: Hyper) -> Iterator[tuple[Tensor, list[Seen]]]:
    """Yield what is seen from each source that some member wants, with the mask of those members."""
    sources, samples = hyper["fisher"], hyper["samples"]
    wanted = sorted(set(zip(sources.reshape(-1).tolist(), samples.reshape(-1).tolist(), strict=True)))
    for source, number in wanted:
        mask = (sources == source) & (samples == number)
        yield mask, batch.seen(SOURCES[int(source)], key=step, samples=int(number))


def merged(
    seen: Iterable[tuple[Tensor, Sequence[Seen]]], estimate: Callable[[Sequence[Seen]], list[Tensor]]
) -> list[Tensor]:
    """Return what `estimate` makes for each member of what is its own."""
    found: list[Tensor] = []
    for mask, own in seen:
        new = estimate(own)
        found = [choose(mask, each, old) for each, old in zip(new, found, strict=True)] if found else list(new)
    return found
