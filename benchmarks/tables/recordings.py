"""The tables there are: what is trained for each, over which levels of the space, and with how many seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

MLP_EPOCHS = 27  # halving by three has rungs at 1, 3, 9 and 27 epochs
CNN_EPOCHS = 9


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record. The runs of one point differ by their seeds, of which no two points share any."""

    objective: Mapping[str, Any]
    space: Mapping[str, Mapping[str, Any]]
    seeds: int


def space(*, rates: int, warmups: int, momenta: int) -> dict[str, dict[str, Any]]:
    """Return the space of a study that searches five parameters, with so many levels of three of them."""
    momentum = {"type": "float", "low": 0.5, "high": 0.99, "scale": "reverse_log"}
    return {
        "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
        "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "nesterov", "adam"]},
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log", "levels": _spread(rates, 1e-4, 1.0)},
        "warmup": {"type": "float", "low": 0.0, "high": 0.3, "levels": _even(warmups, 0.3)},
        "momentum": momentum
        | {"levels": [round(1 - rest, 4) for rest in _spread(momenta, 0.5, 0.01)]}
        | {"when": {"optimizer": ["momentum", "nesterov"]}},
    }


def _spread(count: int, first: float, last: float) -> list[float]:
    """Return numbers of four digits, each the same multiple of the one before."""
    return [float(f"{first * (last / first) ** (place / (count - 1)):.4g}") for place in range(count)]


def _even(count: int, last: float) -> list[float]:
    return [round(last * place / (count - 1), 4) for place in range(count)]


def _mlp(data: str, width: int) -> dict[str, Any]:
    network = {"kind": "mlp", "hidden": [width]}
    return {"recipe": "classifier", "data": data, "network": network, "epochs": MLP_EPOCHS}


def _cnn(data: str, channels: list[int]) -> dict[str, Any]:
    network = {"kind": "cnn", "channels": channels}
    return {"recipe": "classifier", "data": data, "network": network, "epochs": CNN_EPOCHS}


_FINE = space(rates=17, warmups=4, momenta=5)
_MIDDLING = space(rates=13, warmups=4, momenta=5)
_COARSE = space(rates=13, warmups=3, momenta=3)

RECORDINGS: Mapping[str, Recording] = MappingProxyType(
    {
        "digits_mlp": Recording(_mlp("digits", 32), _FINE, seeds=3),
        "digits_cnn": Recording(_cnn("digits", [8, 16]), _COARSE, seeds=3),
        "wine_mlp": Recording(_mlp("wine", 16), _MIDDLING, seeds=4),
        "breast_cancer_mlp": Recording(_mlp("breast_cancer", 16), _MIDDLING, seeds=4),
    }
)
