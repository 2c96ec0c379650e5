"""The diagonal blocks of a square matrix over one axis of a tensor, kept in memory that does not depend on their size.

Blocks are as equal as can be and no larger than is wanted. The matrix is kept as its rows, each of which holds the row of
its block, filled up with zeros to `width`: so members of a population may have blocks of different sizes, as may a run whose
options are known only once it steps.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everyone knows it by
from torch import Tensor

# The width of what is kept, and so the largest size of a block.
LARGEST = 1024


class Side(NamedTuple):
    """An axis of `length` whose blocks are of `size`."""

    length: int
    size: int

    @property
    def width(self) -> int:
        """How many numbers of each row are kept."""
        return min(self.length, LARGEST)

    @property
    def room(self) -> int:
        """How many numbers are kept."""
        return self.length * self.width

    def blocks(self, kept: Tensor) -> Tensor:
        """Return (*, blocks, size, size) of what is kept, (*, room)."""
        return self.cut(kept.reshape(*kept.shape[:-1], self.length, self.width)[..., : self.size])

    def kept(self, blocks: Tensor) -> Tensor:
        """Return what is kept of (*, blocks, size, size)."""
        return F.pad(self.joined(blocks), (0, self.width - self.size)).flatten(-2)

    def times(self, kept: Tensor, rows: Tensor) -> Tensor:
        """Return the product with rows (*, length, m) of a symmetric matrix that is kept, transposed: (*, m, length)."""
        if self.size == self.length:  # one block, for which no axis is needed
            return rows.mT @ kept.reshape(*kept.shape[:-1], self.length, self.length)
        return self.joined(self.blocks(kept) @ self.cut(rows)).mT

    def cut(self, rows: Tensor) -> Tensor:
        """Return rows (*, length, m) as (*, blocks, size, m), the last block filled up with zeros."""
        missing = -self.length % self.size
        filled = F.pad(rows, (0, 0, 0, missing)) if missing else rows
        return filled.reshape(*rows.shape[:-2], -1, self.size, rows.shape[-1])

    def joined(self, blocks: Tensor) -> Tensor:
        """Return blocks (*, blocks, size, m) as rows (*, length, m)."""
        return blocks.flatten(-3, -2)[..., : self.length, :]


@lru_cache(maxsize=1024)
def sides(shape: tuple[int, ...], largest: int) -> tuple[Side, ...]:
    """Return the sides of a tensor of this shape, in blocks of at most `largest`."""
    return tuple(Side(length, math.ceil(length / math.ceil(length / largest))) for length in shape)


def room(shape: tuple[int, ...]) -> int:
    """Return how many numbers the sides of such a tensor keep, whatever the size of their blocks."""
    return sum(side.room for side in sides(shape, LARGEST))


def parted(kept: Tensor, of: Sequence[Side]) -> list[Tensor]:
    """Return what is kept of each side from one vector (*, room), which may be longer than that."""
    rooms = [side.room for side in of]
    return list(kept.split_with_sizes([*rooms, kept.shape[-1] - sum(rooms)], dim=-1)[:-1])


def packed(blocks: Sequence[Tensor], of: Sequence[Side], like: Tensor) -> Tensor:
    """Return one vector of the blocks of each side, filled up with zeros to be as long as `like`."""
    kept = [side.kept(block) for side, block in zip(of, blocks, strict=True)]
    unused = like[..., sum(side.room for side in of) :]
    return torch.cat([*kept, torch.zeros_like(unused)], dim=-1)


def together(
    blocks: Sequence[Tensor], powers: Sequence[int], function: Callable[[Tensor, int], Tensor]
) -> list[Tensor]:
    """Apply a function to all blocks (*, m, size, size), in one call to those of one size and power."""
    keys = [(power, block.shape[-1], block.dtype, block.device) for block, power in zip(blocks, powers, strict=True)]
    found = list(blocks)
    for key in dict.fromkeys(keys):
        places = [place for place, each in enumerate(keys) if each == key]
        whole = function(torch.cat([blocks[place] for place in places], dim=-3), key[0])
        parts = torch.split(whole, [blocks[place].shape[-3] for place in places], dim=-3)
        for place, part in zip(places, parts, strict=True):
            found[place] = part
    return found
