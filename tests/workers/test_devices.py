"""Which GPUs a host lends us, with an nvidia-smi of our own, and the workers that are made of them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from workers.__main__ import members
from workers.devices import list_gpus

Install: TypeAlias = Callable[[str], None]


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a shell script in the place of nvidia-smi, where CUDA_VISIBLE_DEVICES is not set."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def install(script: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return install


def test_all_are_those_that_nvidia_smi_lists(nvidia_smi: Install) -> None:
    nvidia_smi('[ "$*" = "--query-gpu=index --format=csv,noheader" ] && printf "0\\n1\\n2\\n"')
    assert list_gpus("all") == ["0", "1", "2"]
    assert list_gpus("2, 0") == ["2", "0"]


@pytest.mark.parametrize(
    ("visible", "names"),
    [("3", ["3"]), ("3,1", ["3", "1"]), ("GPU-8f3a,MIG-77", ["GPU-8f3a", "MIG-77"]), ("2,-1,0", ["2"])],
)
def test_all_are_those_that_were_lent(
    nvidia_smi: Install, monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]
) -> None:
    nvidia_smi('printf "0\\n1\\n2\\n3\\n"')
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list_gpus("all") == names


@pytest.mark.parametrize("visible", ["", "-1"])
def test_hidden_gpus_are_not_taken(nvidia_smi: Install, monkeypatch: pytest.MonkeyPatch, visible: str) -> None:
    nvidia_smi("echo 0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES"):
        list_gpus("all")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'No devices were found'; exit 6", "No devices were found"),
        ("exit 0", "lists none"),
        ("exec sleep 60", "timed out"),
    ],
)
def test_no_gpu_is_an_error_that_says_why(
    nvidia_smi: Install, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    monkeypatch.setattr("workers.devices._ASK_SECONDS", 0.5)
    nvidia_smi(script)
    with pytest.raises(ValueError, match=said):
        list_gpus("all")


@pytest.mark.usefixtures("nvidia_smi")
def test_no_nvidia_smi_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="not installed"):
        list_gpus("all")


def test_a_gpu_worker_sees_one_device_as_nvidia_smi_counts(nvidia_smi: Install) -> None:
    nvidia_smi('printf "0\\n1\\n"')
    made = members("gpu", None, "all")
    assert [member.name for member in made] == ["gpu0", "gpu1"]
    assert made[1].environment == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "1",
        "TUNEUP_DEVICE": "cuda:1",
        "TUNEUP_QUEUE": "gpu",
    }


def test_a_cpu_worker_sees_no_device() -> None:
    (member,) = members("cpu", None, None)
    assert member.environment["CUDA_VISIBLE_DEVICES"] == ""
    with pytest.raises(ValueError, match="at least 1"):
        members("cpu", 0, None)


@pytest.mark.parametrize(("queue", "workers", "gpus"), [("cpu", None, "all"), ("gpu", 2, "0")])
def test_an_option_of_the_other_queue_is_refused(queue: str, workers: int | None, gpus: str | None) -> None:
    with pytest.raises(ValueError, match="is for --queue"):
        members(queue, workers, gpus)
