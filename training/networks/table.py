"""The networks a trial can train, by kind."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from training.data.examples import Data
from training.networks.base import Family, Network, form
from training.networks.cnn import CNN
from training.networks.mlp import MLP
from training.networks.recommender import RECOMMENDER
from training.networks.registered import REGISTERED
from training.networks.signal import SIGNAL
from training.networks.text import TEXT
from training.networks.transformer import TRANSFORMER

NETWORKS: Mapping[str, Family] = MappingProxyType(
    {
        "mlp": MLP,
        "cnn": CNN,
        "signal": SIGNAL,
        "text": TEXT,
        "recommender": RECOMMENDER,
        "transformer": TRANSFORMER,
        "registered": REGISTERED,
    }
)


def build_network(spec: Mapping[str, Any], data: Data) -> Network:
    """Build the network that `spec` describes, such as `{kind: mlp, hidden: [64]}`; what it leaves out has a default.

    Raise ValueError for an unknown kind or field, listing the valid ones, for values that make no network, and for a
    kind that cannot work on such data.
    """
    kind: Any = spec.get("kind")
    if kind not in NETWORKS:
        raise ValueError(f"unknown network kind {kind!r}; valid: {', '.join(NETWORKS)}")
    family = NETWORKS[kind]
    given = {field: value for field, value in spec.items() if field != "kind"}
    unknown = sorted(given.keys() - family.fields.keys())
    if unknown:
        raise ValueError(f"network {kind} has no field {', '.join(unknown)}; valid: {', '.join(family.fields)}")
    if form(data) not in family.takes:
        able = ", ".join(name for name, other in NETWORKS.items() if form(data) in other.takes)
        raise ValueError(
            f"network {kind} needs {' or '.join(family.takes)}, and {data.name} has {form(data)}; use {able}"
        )
    return family.build({**family.fields, **given}, data)
