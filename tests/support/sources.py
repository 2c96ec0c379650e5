"""The project's own files, as the house rules look at them."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "workers", "search", "models", "migrations", "training", "optim", "client")
OTHERS = ("benchmarks", "examples", "scripts", "tests")  # python of ours that no user runs as a part of the service
VENDORED = "vendor"  # a folder of this name holds other people's files

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files() -> tuple[Path, ...]:
    """Return every file of ours, tracked or about to be, as paths from the root; built and ignored ones left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return tuple(sorted(path for name in listed if (ROOT / (path := Path(name))).is_file()))


def own(*suffixes: str, under: tuple[str, ...] | None = None) -> list[Path]:
    """Return the files with one of these suffixes that we wrote, below the folders `under` (default: anywhere)."""
    return [
        path
        for path in files()
        if path.suffix in suffixes and VENDORED not in path.parts and (under is None or path.parts[0] in under)
    ]


def product() -> list[Path]:
    """Return the Python files that make up the service and its client."""
    return [path for path in own(".py") if path.parts[0] in PACKAGES or len(path.parts) == 1]


@cache
def lines(path: Path) -> tuple[str, ...]:
    """Return the lines of one file."""
    return tuple((ROOT / path).read_text(encoding="utf-8").splitlines())


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of one Python file."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[Function]:
    """Yield each function and method of the file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, Function):
            yield node


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, full dotted name) of each absolute import: `from a import b` gives `a.b`, `import a.b` gives `a.b`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` for a chain of attributes on a name; for a chain on anything else, what follows it: `.b.c`."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
