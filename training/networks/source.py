"""A function that builds a network, in a file of the worker's operator: read, and called under a seed.

The file stands by itself: it may import what is installed, and nothing that lies beside it. It is read anew when it has
changed, and leaves no compiled file behind.
"""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from training.memory import is_out_of_memory

Option: TypeAlias = str | int | float | bool | None
Stamp: TypeAlias = tuple[int, int, int]  # when a file was written, its size, its number in the file system
_KEPT = 16  # files


@dataclass(frozen=True, slots=True)
class Source:
    """A function `name` in a file as it was at `stamp`, and what it is given: shape, outputs, and `options` by keyword."""

    file: str
    stamp: Stamp
    name: str
    shape: tuple[int, ...]
    outputs: int
    options: tuple[tuple[str, Option], ...]

    def __str__(self) -> str:
        return f"{self.file}:{self.name}"

    def build(self, seed: int) -> nn.Module:
        """Return a module in training mode; what is drawn for it follows the seed. Raise ValueError if none comes of it."""
        function = getattr(_read(self.file, self.stamp), self.name, None)
        if not callable(function):
            raise self.fault(f"the file has no such function; write def {self.name}(shape, outputs), or name another")
        with contained(seed), blaming(f"{self}: the call"):
            built: object = function(self.shape, self.outputs, **dict(self.options))
        if not isinstance(built, nn.Module):
            raise self.fault(f"it returned {type(built).__name__}; return a torch.nn.Module")
        return built.train()

    def fault(self, text: str) -> ValueError:
        """Return the error that says this of it."""
        return ValueError(f"{self}: {text}")


def stamp(file: str) -> Stamp:
    """Return what changes with a file. Raise ValueError if there is none."""
    try:
        about = Path(file).stat()
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}; put the network's file there, or correct tuneup.toml") from None
    return about.st_mtime_ns, about.st_size, about.st_ino


@contextmanager
def contained(seed: int) -> Iterator[None]:
    """Have users' code draw from this seed, and leave the state of the process as it was.

    Of the generators that initialisations use: torch's on the CPU, NumPy's and Python's.
    """
    ours, numpys, dtype = random.getstate(), np.random.get_state(), torch.get_default_dtype()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002 - the state that users' code draws from
            random.seed(seed)
            yield
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)  # noqa: NPY002
        torch.set_default_dtype(dtype)


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Turn what users' code raises into a ValueError that names it, but for a refusal of memory."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise
        line = str(error).strip().partition("\n")[0]
        raise ValueError(f"{what} raised {type(error).__name__}: {line}{_remedy(error)}") from error


def _remedy(error: BaseException) -> str:
    return "; it may import what is installed, not what lies beside it" if isinstance(error, ImportError) else ""


class _Loader(SourceFileLoader):
    """Reads the source whatever was compiled before: compiled files know no more than the second of a change."""

    def get_code(self, fullname: str) -> CodeType:
        del fullname
        return self.source_to_code(self.get_data(self.path), self.path)


@lru_cache(maxsize=_KEPT)
def _read(file: str, stamp: Stamp) -> ModuleType:
    """Run the file as a module of a private name. Raise ValueError for one that cannot be run."""
    del stamp  # the key of the cache
    name = f"_network_{sha256(file.encode()).hexdigest()[:16]}"
    spec = spec_from_file_location(name, file, loader=_Loader(name, file))
    if spec is None or spec.loader is None:
        raise ValueError(f"{file}: this is no Python file; name one in tuneup.toml")
    module = module_from_spec(spec)
    # Dataclasses and pickles look their module up by its name.
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with contained(0), blaming(f"{file}: reading it"):
            spec.loader.exec_module(module)
    except BaseException:
        _restore(name, before)
        raise
    return module


def _restore(name: str, before: ModuleType | None) -> None:
    if before is None:
        del sys.modules[name]
    else:
        sys.modules[name] = before
