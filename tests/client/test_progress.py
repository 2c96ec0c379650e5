from typing import Any

import pytest
from rich.console import Console

import tuneup
from tests.client.fake_service import FakeService
from tuneup.progress import showing, texts


@pytest.fixture
def study(client: tuneup.Client, service: FakeService, definition: dict[str, Any]) -> tuneup.Study:
    """Return a running study with a long name, 18 of 30 trials finished, and a best one."""
    service.step = 18
    name = "digits with a long and telling name"
    return client.create_study({**definition, "name": name, "budget": {"trials": 30}}).refresh()


@pytest.mark.parametrize("width", [80, 200])
def test_the_bar_and_the_progress_fit_on_one_line(study: tuneup.Study, width: int) -> None:
    screen = Console(width=width, force_terminal=True, color_system=None, soft_wrap=True)
    with screen.capture() as drawn, showing(study.name, screen=screen) as show:
        show(study)
    last = [line for line in drawn.get().splitlines() if "━" in line][-1]
    assert "━" * 12 in last
    assert "18/30" in last
    assert "0.125" in last
    assert "0:00:00" in last


def test_short_texts_take_over_where_the_long_ones_do_not_fit(study: tuneup.Study) -> None:
    assert texts(study, width=80) == ("digits with a l…", "18/30, best 0.125")
    assert texts(study, width=200)[1].startswith("18/30 finished, 0 running")
    study.data["state"] = "paused"
    study.data["best"] = None
    study.data["progress"]["budget"] = None
    assert texts(study, width=80)[1] == "paused 18"
