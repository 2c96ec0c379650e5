"""How much of each question is asked."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """Seeds of every run, the `width` of networks, and what each question goes through.

    Lists are asked after with networks as `wide`, and at most so many examples `listed`.
    """

    seeds: tuple[int, ...]
    width: int
    wide: int
    targets: tuple[float, ...]
    rates: tuple[float, ...]
    widths: tuple[int, ...]
    examples: tuple[int, ...]
    epochs: int
    listed: int


SIZES: Mapping[str, Size] = {
    "quick": Size(
        seeds=(1,),
        width=1024,
        wide=5_000,
        targets=(0.5, 0.2, 0.1, 0.05, 0.02),
        rates=(20.0,),
        widths=(8, 16, 32, 64, 256, 1024),
        examples=(250, 500, 1000, 2000),
        epochs=3,
        listed=1_000,
    ),
    "standard": Size(
        seeds=(1, 2, 3),
        width=4096,
        wide=40_000,
        targets=(0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002),
        rates=(10.0, 40.0),
        widths=(8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
        examples=(250, 500, 1000, 2000, 4000, 8000, 16_000),
        epochs=8,
        listed=4_000,
    ),
}
