"""Users' own networks: a module of torch.nn as the pure pair that recipes train, once it has been inspected."""

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Generator, Tensor
from torch.func import functional_call

from training.data.examples import Data
from training.networks.base import Family, Network, Params, Spec
from training.networks.inspection import constants, inspect, learned
from training.networks.source import Source, stamp

GIVEN = ("shape", "outputs", "vocabulary")  # what the function is given beside the options of the study
_KEPT = 16  # networks


def _build(spec: Spec, data: Data) -> Network:
    return _network(_source(spec, data), data.vocabulary)


def _source(spec: Spec, data: Data) -> Source:
    """Return what builds the network. Pictures have the shape (channels, height, width); tokens come with their number."""
    file, name, options = (spec[field] for field in ("file", "function", "options"))
    if not all(isinstance(text, str) and text for text in (file, name)):
        raise ValueError(f"network.file and network.function must be strings, got {file!r} and {name!r}")
    if not isinstance(options, Mapping) or not all(map(_is_option, options.values())):
        raise ValueError(f"network.options must be strings, numbers, true, false or null by name, got {options!r}")
    taken = sorted(options.keys() & set(GIVEN))
    if taken:
        raise ValueError(f"network.options must not name {', '.join(taken)}: the data say that; use another name")
    tokens = {} if data.vocabulary is None else {"vocabulary": data.vocabulary}
    given = tuple(sorted({**options, **tokens}.items()))
    return Source(file, stamp(file), name, data.image or data.shape, data.outputs, given)


def _is_option(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _network(source: Source, vocabulary: int | None) -> Network:
    # With their types, because for a cache 1, 1.0 and True are one.
    return _inspected(source, vocabulary, tuple(type(value) for _, value in source.options))


@lru_cache(maxsize=_KEPT)
def _inspected(source: Source, vocabulary: int | None, types: tuple[type, ...]) -> Network:
    del types  # in the key alone
    module = source.build(0)
    inspect(source, module, vocabulary)
    names = tuple(learned(module))

    @lru_cache(maxsize=2)
    def fixed(device: torch.device) -> dict[str, Tensor]:
        return {name: tensor.to(device) for name, tensor in constants(module).items()}

    def init(generator: Generator) -> list[Tensor]:
        seed = int(torch.randint(2**62, (), generator=generator))
        drawn = learned(source.build(seed)).values()
        return [param.detach().clone(memory_format=torch.contiguous_format) for param in drawn]

    def apply(params: Params, inputs: Tensor) -> Tensor:
        tensors = {**fixed(inputs.device), **dict(zip(names, params, strict=True))}
        outputs: Tensor = functional_call(module, tensors, (inputs.reshape(-1, *source.shape),))
        return outputs

    return Network(init, apply, version=str(source.stamp), names=names)


REGISTERED = Family(
    {"file": None, "function": "build", "options": {}}, takes=("numbers", "pictures", "tokens"), build=_build
)
