"""The source files of Python's standard library: real text and real links that every installation has.

They are read and parsed, never imported. What they hold differs between Python versions, and never between two readings
of one installation.
"""

import ast
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# Tests and what is no part of the library proper.
_PASSED_OVER = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


def parsed(
    names: frozenset[str] | None = None, *, without: frozenset[str] = frozenset()
) -> Iterator[tuple[str, ast.Module]]:
    """Yield package and syntax tree of each file of the top-level modules and packages `names`, in a fixed order.

    The package is the dotted name that relative imports in the file begin from, empty for a top-level module.

    Raise ValueError if this installation has no source files.
    """
    root = Path(sysconfig.get_path("stdlib"))
    found = False
    for entry in sorted(root.iterdir()):
        if entry.stem in without or (names is not None and entry.stem not in names):
            continue
        for path in _files(entry):
            tree = _tree(path)
            if tree is not None:
                found = True
                yield ".".join(path.relative_to(root).parts[:-1]), tree
    if not found:
        raise ValueError(f"there are no source files of the standard library in {root}: use other data")


def _files(entry: Path) -> Iterator[Path]:
    """Yield the entry if it is a source file, or the source files of the package that it is."""
    if entry.suffix == ".py":
        yield entry
    elif entry.is_dir() and entry.name not in _PASSED_OVER and (entry / "__init__.py").is_file():
        for inner in sorted(entry.iterdir()):
            yield from _files(inner)


def _tree(path: Path) -> ast.Module | None:
    """Return the syntax tree; None for a template or for a file that was put there for another Python."""
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return None
