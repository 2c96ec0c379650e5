"""How many members memory holds."""

import pytest
import torch

from training.memory import free_bytes
from training.population import limits
from training.population.limits import COPIES, FREE_SHARE, MOST, most_members

CPU = torch.device("cpu")


def test_free_memory_is_that_of_this_host() -> None:
    assert 2**20 < free_bytes(CPU) < 2**50


def test_members_share_a_part_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "free_bytes", lambda _: 10**9)
    member = 4 * (COPIES * 10**6 + 10**5)
    assert most_members(CPU, members=3, floats=10**6, batch=10**5) == 3 + int(FREE_SHARE * 10**9 / member)
    assert most_members(CPU, members=0, floats=10**12, batch=0) == 1
    assert most_members(CPU, members=0, floats=1, batch=0) == MOST
