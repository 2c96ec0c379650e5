"""docker-compose.yml without an engine: its form against the Compose specification, its content against our promises."""

import subprocess
import sys
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from typer.core import TyperGroup
from typer.main import get_command

from settings import Settings
from tests.support import compose
from tuneup.cli import app

OURS = ("migrate", "api", "worker", "worker-gpu")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Return the services as the engine would see them."""
    found: dict[str, Any] = compose.load({"TUNEUP_API_KEY": "secret"})["services"]
    return found


def _specified(content: dict[str, Any]) -> PyCompose:
    return PyCompose.from_yaml(yaml.safe_dump(content))


def test_the_file_is_as_specified() -> None:
    parsed = _specified(compose.load({"TUNEUP_API_KEY": "secret"}))
    parsed.validate()
    assert set(parsed.service_names()) == {"postgres", "redis", *OURS}


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("api", "restrt", "always"),
        ("api", "restart", "sometimes"),
        ("api", "ports", ["127.0.0.1:http:8000"]),
        ("worker", "depends_on", {"redis": {"condition": "service_well"}}),
        ("redis", "healthcheck", {"tset": ["CMD", "true"]}),
        ("worker-gpu", "networks", ["elsewhere"]),
    ],
)
def test_the_check_finds_mistakes(service: str, key: str, value: object) -> None:
    content = compose.load({"TUNEUP_API_KEY": "secret"})
    content["services"][service][key] = value
    with pytest.raises(ValueError, match=r".+"):
        _specified(content).validate()


def test_it_does_not_start_without_a_key() -> None:
    with pytest.raises(compose.MissingVariable, match="TUNEUP_API_KEY"):
        compose.load({})


def test_only_the_api_is_published_on_loopback(services: dict[str, Any]) -> None:
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "api": ["127.0.0.1:8000:8000"]
    }
    outside = {name for name, service in services.items() if service["networks"] != ["inside"]}
    assert outside == {"api"}
    assert compose.load({"TUNEUP_API_KEY": "x"})["networks"]["inside"] == {"internal": True}


def test_only_the_api_knows_the_key(services: dict[str, Any]) -> None:
    holders = {name for name, service in services.items() if "TUNEUP_API_KEY" in service.get("environment", {})}
    assert holders == {"api"}


def test_everything_comes_up_in_order(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for dependency, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert services[dependency].get("healthcheck"), f"{name} waits for {dependency}, which has no health"
        assert service["restart"], f"{name} would stay down after a crash"
    for name in ("api", "worker", "worker-gpu"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


def test_gpus_are_asked_for_by_profile(services: dict[str, Any]) -> None:
    assert {name: service["profiles"] for name, service in services.items() if "profiles" in service} == {
        "worker-gpu": ["gpu"]
    }
    devices = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]


@pytest.mark.parametrize("service", OURS)
def test_variables_are_ones_that_settings_read(service: str, services: dict[str, Any]) -> None:
    known = {f"TUNEUP_{name.upper()}" for name in Settings.model_fields}
    assert set(services[service]["environment"]) <= known


@pytest.mark.parametrize("service", OURS)
def test_commands_are_ones_that_the_cli_takes(service: str) -> None:
    program, *arguments = compose.command(service)
    assert program == "tuneup"
    _parse(arguments)


@pytest.mark.parametrize("arguments", [["migrat"], ["api", "--prot", "1"], ["worker", "--workers", "two"]])
def test_commands_that_the_cli_does_not_take_are_found(arguments: list[str]) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|a valid"):
        _parse(arguments)


def _parse(arguments: list[str]) -> None:
    """Parse a command line as `tuneup` would, without running it; raise the usage error where it would refuse."""
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    with group.make_context("tuneup", list(arguments)) as context:
        name, command, rest = group.resolve_command(context, list(arguments))
        assert command is not None
        command.make_context(name, rest, parent=context)


def test_the_health_check_is_python_that_runs(services: dict[str, Any]) -> None:
    kind, _, *script = services["api"]["healthcheck"]["test"]
    assert kind == "CMD"
    answer = subprocess.run([sys.executable, *script], capture_output=True, text=True, check=False)
    assert answer.returncode != 0  # nothing serves port 8000 here, so it must say so
    assert "URLError" in answer.stderr
