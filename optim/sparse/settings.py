"""What the options of a trial of the recipe wide-two-layer come to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .activations import ACTIVATIONS
from .network import TwoLayer
from .thresholds import THRESHOLDS
from .tuner import DENSE, LISTS, SCAN

# Which option the threshold is made of, by `threshold_by`.
_OPTIONS = {"fixed": "threshold", "width": "threshold_factor", "share": "active_share"}
# The ways of the trainer by the option `reporter`; any other is a back end of that name.
_WAYS = {"auto": (SCAN, DENSE, LISTS), "dense": (SCAN, DENSE)}
# A selective network asks for so many times as many neurons as it keeps, to find all it keeps among them.
_SPARE = 2.0


@dataclass(frozen=True, slots=True)
class Wide:
    """The network, how it begins, what it sees, and how it is stepped."""

    network: TwoLayer
    width: int
    initialisation: str
    centered: bool
    train_examples: int
    ways: tuple[str, ...]
    slack: float


def settings(options: Mapping[str, Any]) -> Wide:
    """Read complete options of sparse_sgd, each in its range."""
    width, activation = options["width"], ACTIVATIONS[options["activation"]]
    # Neurons in pairs are an even number.
    width -= width % 2 if options["initialisation"] == "paired" else 0
    by = "share" if activation.selective else options["threshold_by"]
    value = options[_OPTIONS[by]]
    most = max(1, round(options["active_share"] * width)) if activation.selective else 0
    # Of both of a pair, or of neither, nothing is left as training begins.
    most += most % 2 if options["initialisation"] == "paired" else 0
    threshold = THRESHOLDS[by](min(1.0, _SPARE * value) if activation.selective else value, width)
    reporter = options["reporter"]
    return Wide(
        network=TwoLayer(activation, threshold, most),
        width=width,
        initialisation=options["initialisation"],
        centered=options["centered"],
        train_examples=options["train_examples"],
        ways=_WAYS.get(reporter, (reporter,)),
        slack=options["slack"],
    )
