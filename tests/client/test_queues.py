from typing import Any

import tuneup
from tuneup.queues import IDLE_SECONDS, Idle


def test_idle_tells_once_and_only_of_a_running_study_that_stands_still(
    client: tuneup.Client, definition: dict[str, Any]
) -> None:
    study, idle = client.create_study(definition), Idle()
    looks: list[tuple[float, dict[str, Any], dict[str, Any]]] = [
        (0.0, {}, {}),
        (1.0, {}, {"allocated": 1}),
        (IDLE_SECONDS, {}, {}),
        (IDLE_SECONDS + 0.5, {}, {"running": 1}),
        (IDLE_SECONDS + 2.0, {}, {"running": 0}),
        (IDLE_SECONDS + 3.0, {"state": "paused"}, {}),
        (2 * IDLE_SECONDS + 2.5, {"state": "running"}, {}),
    ]
    for now, data, progress in looks:
        study.data.update(data)  # type: ignore[typeddict-item]
        study.progress.update(progress)  # type: ignore[typeddict-item]
        assert not idle.too_long(study, now=now)
    assert idle.too_long(study, now=2 * IDLE_SECONDS + 3.0)
    assert not idle.too_long(study, now=9 * IDLE_SECONDS)
