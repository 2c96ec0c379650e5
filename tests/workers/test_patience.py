"""When an attempt has taken too long, on a clock of our own."""

from search.schema import Timeouts
from workers.patience import Patience


class Clock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _patience(progress: float | None, total: float | None) -> tuple[Patience, Clock]:
    clock = Clock()
    return Patience(Timeouts(progress=progress, total=total), monotonic=clock), clock


def test_silence_has_an_end() -> None:
    patience, clock = _patience(10.0, None)
    clock.now += 9
    assert patience.spent(silent=True) is None
    patience.moved()
    clock.now += 9
    assert patience.spent(silent=True) is None
    clock.now += 1
    assert patience.spent(silent=True) == "no sign of progress for 10 s (timeouts.progress)"


def test_who_was_heard_just_now_is_not_silent() -> None:
    """What waits in the socket while we sleep is heard before anything is decided."""
    patience, clock = _patience(10.0, None)
    clock.now += 1000
    assert patience.spent(silent=False) is None


def test_progress_does_not_stretch_the_whole() -> None:
    patience, clock = _patience(10.0, 30.0)
    for _ in range(6):
        assert patience.spent(silent=True) is None
        clock.now += 5
        patience.moved()
    assert patience.spent(silent=False) == "still running after 30 s (timeouts.total)"


def test_our_own_waits_are_not_the_trials() -> None:
    patience, clock = _patience(10.0, 30.0)
    with patience.ours():
        clock.now += 1000
    assert patience.spent(silent=True) is None
    clock.now += 10
    assert "progress" in (patience.spent(silent=True) or "")
    clock.now += 20
    assert "total" in (patience.spent(silent=True) or "")


def test_null_waits_for_ever() -> None:
    patience, clock = _patience(None, None)
    clock.now += 1e9
    assert patience.spent(silent=True) is None
