"""Every rule by its catalog name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .rules import adagrad, adam, adamw, momentum, nesterov, rmsprop, sgd
from .transform import Rule

RULES: Mapping[str, Rule[Any]] = MappingProxyType(
    {
        "sgd": sgd.RULE,
        "momentum": momentum.RULE,
        "nesterov": nesterov.RULE,
        "adagrad": adagrad.RULE,
        "rmsprop": rmsprop.RULE,
        "adam": adam.RULE,
        "adamw": adamw.RULE,
    }
)
