"""Seeded draws that depend on (seed, index) alone, so that any worker derives the same point.

Both generators are counter-based: there is no state to share or to replay. `Draws` hashes (seed, index, block) with
BLAKE2b and reads the digest as eight 64-bit words; a point of five parameters costs one hash, a few microseconds, where
making a numpy Philox generator costs ten times that. `Permutation` is a generalised Feistel network over a rectangle
(J. Black and P. Rogaway, "Ciphers with arbitrary finite domains", 2002): a bijection of [0, n) in O(1) memory.
"""

import hashlib
import math
import struct
from dataclasses import dataclass

_WORDS = struct.Struct("<8Q")
_HEADER = struct.Struct("<QQQ")
_MASK = 2**64 - 1
_ROUNDS = 8
SEED_LIMIT = 2**53
# What each stream is for; salts below 1000 are tries at a point.
SHUFFLE_SALT = 1001
TRIAL_SALT = 1002
WITNESS_SALT = 1003
BRACKET_SALT = 1004
MODEL_SALT = 2000
SOBOL_SALT = 3000
HALTON_SALT = 3001
EVOLUTION_SALT = 3002
RESTART_SALT = 3003
MEND_SALT = 3004


class Draws:
    """An endless stream of draws for one (seed, index, salt); 0 <= each < 2^64, salt < 2^16.

    `salt` gives other streams for the same index: a second try, or the seed of another generator.
    """

    __slots__ = ("_block", "_index", "_salt", "_seed", "_words")

    def __init__(self, seed: int, index: int, *, salt: int = 0) -> None:
        self._seed = seed
        self._index = index
        self._salt = salt << 48
        self._block = 0
        self._words: list[int] = []

    def word(self) -> int:
        """Draw 64 bits."""
        if not self._words:
            header = _HEADER.pack(self._seed, self._index, self._salt | self._block)
            self._words = list(_WORDS.unpack(hashlib.blake2b(header, person=b"tuneup draws").digest()))
            self._block += 1
        return self._words.pop()

    def uniform(self) -> float:
        """Draw from [0, 1), with 53 bits."""
        return (self.word() >> 11) * 2.0**-53

    def normal(self) -> float:
        """Draw from the standard normal distribution (G. E. P. Box and M. E. Muller, 1958)."""
        radius = math.sqrt(-2 * math.log(1 - self.uniform()))
        return radius * math.cos(2 * math.pi * self.uniform())

    def below(self, size: int) -> int:
        """Draw from 0 .. size - 1, every one equally likely; 1 <= size <= 2^64."""
        limit = 2**64 - 2**64 % size
        while (word := self.word()) >= limit:
            pass
        return word % size


@dataclass(frozen=True, slots=True)
class Permutation:
    """A seeded bijection of [0, size): `permutation(i)` is the place of i in the shuffled order."""

    size: int
    rows: int
    columns: int
    keys: tuple[int, ...]

    def __call__(self, index: int) -> int:
        """Raise IndexError outside [0, size). Values beyond `size` are walked on until one falls inside."""
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is not in [0, {self.size})")
        index = self._scramble(index)
        while index >= self.size:
            index = self._scramble(index)
        return index

    def _scramble(self, index: int) -> int:
        left, right = index % self.rows, index // self.rows
        rows, columns = self.rows, self.columns
        for key in self.keys:
            left, right = right, (left + _mix(key ^ right)) % rows
            rows, columns = columns, rows
        return left + self.rows * right


def shuffled(size: int, *, seed: int) -> Permutation:
    """Make the shuffled order of `size` things for `seed`; 1 <= size < 2^64."""
    rows = math.isqrt(size - 1) + 1
    columns = (size + rows - 1) // rows
    draws = Draws(seed, size, salt=SHUFFLE_SALT)
    return Permutation(size=size, rows=rows, columns=columns, keys=tuple(draws.word() for _ in range(_ROUNDS)))


def permutation(size: int, *, seed: int, place: int) -> int:
    """Return what stands at `place` in the shuffled order; for many places make `shuffled` once."""
    return shuffled(size, seed=seed)(place)


def derive_seed(seed: int, number: int) -> int:
    """Return the seed of one trial, in [0, SEED_LIMIT): it decides the trial's data order and initialisation."""
    return Draws(seed, number, salt=TRIAL_SALT).below(SEED_LIMIT)


def _mix(word: int) -> int:
    """Scatter 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    word = (word + 0x9E3779B97F4A7C15) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)
