"""Some things are done in one place only, and some nowhere."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import sources

PRODUCT = sources.product()
RUN_BY_OTHERS = [*PRODUCT, *sources.own(".py", under=("benchmarks", "examples", "scripts"))]

TRANSACTION = {"commit", "rollback", "begin"}
TRANSACTION_OWNERS = {
    Path("models/session.py"): "opens and ends every transaction",
}

# The client is no part of the server and cannot import its settings.
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv"}
ENVIRONMENT_READERS = {
    Path("api/lab/helper.py"): "hands the lab's process what it needs of its own environment, without secrets",
    Path("client/tuneup/environment.py"): "the client's own settings",
    Path(
        "training/command.py"
    ): "hands a command its own environment, scrubbed already, without the way to our modules",
    Path("workers/devices.py"): "sees which GPUs were lent to the programs it plans (CUDA_VISIBLE_DEVICES)",
    Path("workers/embedded.py"): "tells the programs it starts where its database and broker are",
    Path("workers/fleet.py"): "hands its environment on to the programs it starts",
    Path("workers/trainer.py"): "hands a trainer what it needs of its own environment, without secrets",
}

BANNED_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
BANNED_CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "makes code of text",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "subprocess.getoutput": "runs a shell",
    "subprocess.getstatusoutput": "runs a shell",
    "yaml.load": "use yaml.safe_load, or Loader= a class of this file that derives from yaml.SafeLoader",
    "yaml.load_all": "use yaml.safe_load_all",
    "yaml.unsafe_load": "use yaml.safe_load",
}


def calls(path: Path) -> list[tuple[int, str, ast.Call]]:
    """Return (line, dotted name, call) of each call in the file."""
    return [
        (node.lineno, sources.dotted(node.func), node)
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.Call)
    ]


def transactions(path: Path) -> list[str]:
    return [f"{path}:{line}: {name}()" for line, name, _ in calls(path) if "." in name and _last(name) in TRANSACTION]


def environment(path: Path) -> list[str]:
    used = [
        (node.lineno, sources.dotted(node)) for node in ast.walk(sources.tree(path)) if isinstance(node, ast.Attribute)
    ]
    return [f"{path}:{line}: {name}" for line, name in [*used, *sources.imports(path)] if name in ENVIRONMENT]


def banned(path: Path) -> list[str]:
    modules = [
        f"{path}:{line}: {name} runs what it reads"
        for line, name in sources.imports(path)
        if name.split(".")[0] in BANNED_MODULES
    ]
    safe = safe_loaders(path)
    return modules + [
        f"{path}:{line}: {name} {BANNED_CALLS.get(name, 'runs a shell')}"
        for line, name, call in calls(path)
        if (name in BANNED_CALLS and not any(_names_one(keyword, safe) for keyword in call.keywords))
        or any(_is_shell(keyword) for keyword in call.keywords)
    ]


def safe_loaders(path: Path) -> set[str]:
    """Return the classes of this file that derive from yaml.SafeLoader."""
    return {
        node.name
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.ClassDef) and "yaml.SafeLoader" in {sources.dotted(base) for base in node.bases}
    }


def _names_one(keyword: ast.keyword, loaders: set[str]) -> bool:
    return keyword.arg == "Loader" and sources.dotted(keyword.value) in loaders


def _is_shell(keyword: ast.keyword) -> bool:
    return keyword.arg == "shell" and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


@pytest.mark.parametrize("path", [path for path in PRODUCT if path not in TRANSACTION_OWNERS], ids=str)
def test_transactions_belong_to_the_session(path: Path) -> None:
    assert transactions(path) == []


@pytest.mark.parametrize("path", PRODUCT, ids=str)
def test_the_environment_is_read_in_one_place(path: Path) -> None:
    """`settings.py` reads it through pydantic and names no variable twice."""
    assert path in ENVIRONMENT_READERS or environment(path) == []


@pytest.mark.parametrize("path", RUN_BY_OTHERS, ids=str)
def test_nothing_runs_what_it_reads(path: Path) -> None:
    assert banned(path) == []


def test_exceptions_are_still_needed() -> None:
    needless = [
        *(path for path in TRANSACTION_OWNERS if not transactions(path)),
        *(path for path in ENVIRONMENT_READERS if not environment(path)),
    ]
    assert needless == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("connection.commit()", transactions),
        ("with engine.begin(): pass", transactions),
        ("import os\nos.environ['A']", environment),
        ("import os\nos.environ.get('A')", environment),
        ("from os import getenv", environment),
        ("import pickle", banned),
        ("from pickle import loads", banned),
        ("import subprocess\nsubprocess.run('ls', shell=True)", banned),
        ("import yaml\nyaml.load('')", banned),
        ("import yaml\nyaml.load('', Loader=yaml.Loader)", banned),
        ("import os\nos.system('ls')", banned),
    ],
)
def test_the_rules_find_what_they_look_for(
    line: str, found: Callable[[Path], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    path = Path(f"case_{abs(hash(line))}.py")
    (tmp_path / path).write_text(line)
    assert len(found(path)) == 1


# Names of one machine, of an installer's servers, and of papers that are not in the repository.
ELSEWHERE = re.compile(
    r"(?<![\w.-])/(?:work|home|root)/\w"
    r"|/opt/(?:wheels|pypi)"
    r"|pypi\.(?!org/project/)\w+|pythonhosted|download\.pytorch|index-url\s*[= ]\s*http"
    r"|\.\./shared|\b(?:DESIGN|STYLE|DEPENDENCIES|RELIABILITY|METHODS|PEERS|FIELD)\.md\b|\bDESIGN section"
)
ELSEWHERE_RULES = {Path("tests/architecture/test_places.py")}


@pytest.mark.parametrize("path", [path for path in sources.files() if path not in ELSEWHERE_RULES], ids=str)
def test_files_name_no_place_outside(path: Path) -> None:
    try:
        text = (sources.ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return  # a picture
    assert [line for line in text.splitlines() if ELSEWHERE.search(line)] == []
