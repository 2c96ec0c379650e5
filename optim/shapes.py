"""Whether the values of a population fit together."""

from collections.abc import Mapping

import torch


def broadcast_shape(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the shape that tensors of these shapes, by the names of what they are, broadcast to.

    Raise ValueError naming those that have axes if they do not.
    """
    try:
        return tuple(torch.broadcast_shapes(*shapes.values()))  # type: ignore[no-untyped-call]  # torch leaves it untyped
    except RuntimeError as error:
        listed = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items() if shape)
        raise ValueError(f"a population's values must have shapes that broadcast, got {listed}") from error
