"""Every rule by its catalog name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .precondition.methods import METHODS
from .rules import (
    adadelta,
    adafactor,
    adagrad,
    adam,
    adamax,
    adamw,
    ademamix,
    lion,
    momentum,
    momentum_ema,
    muon,
    nadam,
    nadamw,
    nesterov,
    prodigy,
    radam,
    rmsprop,
    schedule_free_adamw,
    schedule_free_sgd,
    sgd,
    soap,
)
from .transform import Rule, chain

RULES: Mapping[str, Rule[Any]] = MappingProxyType(
    {
        "sgd": sgd.RULE,
        "momentum": momentum.RULE,
        "momentum_ema": momentum_ema.RULE,
        "nesterov": nesterov.RULE,
        "adagrad": adagrad.RULE,
        "adadelta": adadelta.RULE,
        "rmsprop": rmsprop.RULE,
        "adam": adam.RULE,
        "adamw": adamw.RULE,
        "nadam": nadam.RULE,
        "nadamw": nadamw.RULE,
        "radam": radam.RULE,
        "adamax": adamax.RULE,
        "adafactor": adafactor.RULE,
        "lion": lion.RULE,
        "muon": muon.RULE,
        "schedule_free_sgd": schedule_free_sgd.RULE,
        "schedule_free_adamw": schedule_free_adamw.RULE,
        "prodigy": prodigy.RULE,
        "ademamix": ademamix.RULE,
        "soap": soap.RULE,
        # What steps along preconditioned gradients; whoever looks at mini-batches preconditions before.
        **{
            name: momentum.RULE if method.looks else chain(method.link(()), momentum.RULE)
            for name, method in METHODS.items()
        },
    }
)
