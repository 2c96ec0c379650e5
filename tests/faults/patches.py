"""Replacing functions of the product from outside: in modules yet to be imported, or for a while in those that are.

The product knows nothing of it. A patch names `module:Qualified.name` and makes the replacement from the original and
its module, so that whoever writes one imports nothing of the product beforehand.
"""

import importlib
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

PRODUCT = ("api", "models", "search", "training", "workers")

# Of the original and its module, the replacement.
Make = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Patch:
    """What to replace, and with what."""

    target: str
    make: Make

    @property
    def module(self) -> str:
        """The name of the module it is in."""
        return self.target.partition(":")[0]

    def apply(self, module: ModuleType) -> tuple[Any, str, Any]:
        """Replace it. Return what to restore: holder, name, original. Raise AttributeError where there is no such thing."""
        *path, name = self.target.partition(":")[2].split(".")
        holder = reduce(getattr, path, module)
        original = getattr(holder, name)
        setattr(holder, name, self.make(original, module))
        return holder, name, original


def hook(patches: Sequence[Patch]) -> None:
    """Apply the patches to each module right after its import, before anybody else has read a name in it."""
    wanted: dict[str, list[Patch]] = defaultdict(list)
    for patch in patches:
        wanted[patch.module].append(patch)
    late = sorted(wanted.keys() & sys.modules.keys())
    if late:
        raise RuntimeError(f"imported before they could be patched: {late}")
    sys.meta_path.insert(0, _Finder(wanted))


class _Finder(MetaPathFinder):
    """Finds the modules that are to be patched as they would be found without it."""

    def __init__(self, wanted: Mapping[str, Sequence[Patch]]) -> None:
        self._wanted = wanted

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in self._wanted else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._wanted[fullname])
        return spec


class _Loader(Loader):
    """Loads a module as its own loader would, and then patches it."""

    def __init__(self, loader: Loader, patches: Sequence[Patch]) -> None:
        self._loader = loader
        self._patches = patches

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for patch in self._patches:
            patch.apply(module)

    def __getattr__(self, name: str) -> Any:
        # runpy and inspect ask a loader for more than the two methods above.
        return getattr(self._loader, name)


@contextmanager
def applied(patches: Sequence[Patch]) -> Iterator[None]:
    """Apply the patches for the while, in this process: also where a name was imported from the module before."""
    with ExitStack() as stack:
        for patch in patches:
            module = importlib.import_module(patch.module)
            holder, name, original = patch.apply(module)
            stack.callback(setattr, holder, name, original)
            # A patch of a name that its module imported itself concerns that module alone.
            ours = holder is module and original.__module__ == patch.module
            for other, alias in list(_aliases(original)) if ours else ():
                stack.callback(setattr, other, alias, original)
                setattr(other, alias, getattr(holder, name))
        yield


def _aliases(original: object) -> Iterator[tuple[ModuleType, str]]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in PRODUCT:
            yield from ((module, alias) for alias, found in list(vars(module).items()) if found is original)
