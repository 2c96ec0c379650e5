"""Reading a tuneup.toml: what it registers, and what of it is refused in a line."""

import sys
from pathlib import Path

import pytest

from search.definition.kinds import ExternalObjective, RegisteredObjective
from search.definition.parse import EXAMPLE_STUDIES, parse_study
from workers.keeper import kind_of
from workers.networks import NetworkFile
from workers.objectives import Registered, read_objectives, told
from workers.trainer import COMMANDS, RECIPES


def write(folder: Path, text: str) -> Path:
    path = folder / "tuneup.toml"
    path.write_text(text)
    return path


def test_no_file_registers_nothing() -> None:
    assert read_objectives(None) == {}


def test_what_stands_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    text = f"""
        [objectives.plain]
        command = ["{sys.executable}", "train.py"]
        [objectives."with all"]
        command = ["sh", "-c", "true"]
        folder = "code"
        environment = {{DATA = "/data"}}
        title = "A title"
    """
    assert read_objectives(write(tmp_path, text)) == {
        "plain": Registered("plain", (sys.executable, "train.py"), tmp_path.resolve(), {}),
        "with all": Registered(
            "with all", ("sh", "-c", "true"), (tmp_path / "code").resolve(), {"DATA": "/data"}, "A title"
        ),
    }


def test_an_empty_file_registers_nothing(tmp_path: Path) -> None:
    assert read_objectives(write(tmp_path, "")) == {}


def test_a_program_beside_the_file_is_found_there(tmp_path: Path) -> None:
    program = tmp_path / "train"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    found = read_objectives(write(tmp_path, '[objectives.a]\ncommand = ["./train"]'))["a"]
    assert isinstance(found, Registered)
    assert found.command == ("./train",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[objectives", "this is not TOML"),
        ("[objective.a]", "there is no table [objective]; write [objectives.NAME]"),
        ("objectives = 3", "objectives must be tables; write [objectives.NAME] for each"),
        ("networks = 3", "networks must be tables; write [networks.NAME] for each"),
        ("[objectives]\na = 3", "[objectives.a] must be a table with command"),
        ("[objectives.a]", "[objectives.a] command must be a list of strings"),
        ('[objectives.a]\ncommand = "python train.py"', "[objectives.a] command must be a list of strings"),
        ("[objectives.a]\ncommand = []", "[objectives.a] command must be a list of strings"),
        ('[objectives.a]\ncommand = ["sh", 3]', "[objectives.a] command must be a list of strings"),
        ('[objectives.a]\ncommand = ["no-such-program"]', "the program 'no-such-program' of command is not there"),
        ('[objectives.a]\ncommand = ["./tuneup.toml"]', "'./tuneup.toml' of command is not there or cannot be run"),
        ('[objectives.a]\ncommand = ["sh"]\nfolder = "nowhere"', "nowhere is not there; make it"),
        ('[objectives.a]\ncommand = ["sh"]\nfolder = 3', "folder must be a string"),
        ('[objectives.a]\ncommand = ["sh"]\nshell = true', "there is no field 'shell' here; valid are command, folder"),
        ('[objectives.a]\ncommand = ["sh"]\nenvironment = {A = 1}', "environment must be a table of strings"),
        ('[objectives.a]\ncommand = ["sh"]\nenvironment = {"A=B" = "1"}', "environment must be a table of strings"),
        ('[objectives.a]\ncommand = ["sh"]\nenvironment = ["A=1"]', "environment must be a table of strings"),
        ('[objectives." "]\ncommand = ["sh"]', "the name must not be blank"),
        ('[objectives."network:a"]\ncommand = ["sh"]', "the name must not begin with 'network:'"),
        (f'[objectives.{"a" * 129}]\ncommand = ["sh"]', "at most 128 characters"),
        ("[networks]\na = 3", "[networks.a] must be a table with file, function, title"),
        ("[networks.a]", '[networks.a] file must be a string, such as "nets.py"'),
        ("[networks.a]\nfile = 3", "[networks.a] file must be a string"),
        ('[networks.a]\nfile = "no.py"', "no.py is no Python file that is there; make it, or name another"),
        ('[networks.a]\nfile = "tuneup.toml"', "tuneup.toml is no Python file that is there"),
        ('[networks.a]\nfile = "n.py"\nfunction = 3', "function must be the name of a function in the file"),
        ('[networks.a]\nfile = "n.py"\nfunction = "a.b"', "function must be the name of a function in the file"),
        ('[networks.a]\nfile = "n.py"\ntitle = 3', "title must be a string"),
        ('[networks.a]\nfile = "n.py"\npath = "x"', "there is no field 'path' here; valid are file, function, title"),
        ('[networks." "]\nfile = "n.py"', "the name must not be blank"),
        (f'[networks.{"a" * 121}]\nfile = "n.py"', "at most 120 characters"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match="tuneup") as refused:
        read_objectives(path)
    said = str(refused.value)
    assert said.startswith(f"{path}: ")
    assert says in said
    assert "\n" not in said


def test_a_file_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file or directory; set TUNEUP_OBJECTIVES"):
        read_objectives(tmp_path / "nowhere.toml")


def test_what_a_trainer_is_told(tmp_path: Path) -> None:
    registry = {"a": Registered("a", ("sh", "x"), tmp_path, {"A": "1"})}
    objective = RegisteredObjective(name="a", options={"depth": 3})
    assert told(objective, registry) == {
        "command": ["sh", "x"],
        "folder": str(tmp_path),
        "environment": {"A": "1"},
        "options": {"depth": 3},
    }
    with pytest.raises(KeyError):
        told(RegisteredObjective(name="b"), registry)
    assert told(ExternalObjective(external=True), {})["external"]


def test_networks_stand_beside_objectives_under_the_names_that_are_announced(tmp_path: Path) -> None:
    for path in ("n.py", "code/m.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("")
    text = """
        [networks.a]
        file = "n.py"
        [networks."with all"]
        file = "code/m.py"
        function = "small"
        title = "A title"
        [objectives.a]
        command = ["sh"]
    """
    folder = tmp_path.resolve()
    assert read_objectives(write(tmp_path, text)) == {
        "a": Registered("a", ("sh",), folder, {}),
        "network:a": NetworkFile("a", folder / "n.py"),
        "network:with all": NetworkFile("with all", folder / "code" / "m.py", "small", "A title"),
    }


def test_a_network_is_told_as_a_file_and_runs_on_the_recipes_trainer(tmp_path: Path) -> None:
    registry = {"network:a": NetworkFile("a", tmp_path / "n.py", "small")}
    raw = EXAMPLE_STUDIES["wine-random"]
    network = {"kind": "registered", "name": "a", "options": {"width": 3}}
    objective = parse_study({**raw, "objective": {**raw["objective"], "network": network}}).objective
    assert told(objective, registry) == {
        **objective.model_dump(mode="json"),
        "network": {
            "kind": "registered",
            "file": str(tmp_path / "n.py"),
            "function": "small",
            "options": {"width": 3},
        },
    }
    with pytest.raises(KeyError):
        told(objective, {})
    assert (kind_of(objective), kind_of(RegisteredObjective(name="a"))) == (RECIPES, COMMANDS)


def test_a_network_of_ours_is_told_as_it_was_posted() -> None:
    objective = parse_study(EXAMPLE_STUDIES["wine-random"]).objective
    assert told(objective, {}) == objective.model_dump(mode="json")
