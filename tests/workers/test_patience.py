"""When an attempt has taken too long, on a clock of our own."""

from search.definition.limits import Timeouts
from workers.patience import Patience, Watch


class Clock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _patience(progress: float | None, total: float | None) -> tuple[Patience, Watch, Clock]:
    clock = Clock()
    watch = Watch(monotonic=clock)
    return Patience(Timeouts(progress=progress, total=total), now=watch()), watch, clock


def test_silence_has_an_end() -> None:
    patience, watch, clock = _patience(10.0, None)
    clock.now += 9
    assert patience.silent(watch()) is None
    patience.moved(watch())
    clock.now += 9
    assert patience.silent(watch()) is None
    clock.now += 1
    assert patience.silent(watch()) == "no sign of progress for 10 s (timeouts.progress)"
    assert patience.overlong(watch()) is None


def test_who_was_heard_just_now_is_not_silent() -> None:
    """What waits in the socket while we sleep is heard before anything is decided."""
    patience, watch, clock = _patience(10.0, None)
    heard = watch()
    clock.now += 1000
    assert patience.silent(heard) is None
    patience.moved(watch())
    assert patience.silent(watch()) is None


def test_progress_does_not_stretch_the_whole() -> None:
    patience, watch, clock = _patience(10.0, 30.0)
    for _ in range(6):
        assert patience.silent(watch()) is None
        assert patience.overlong(watch()) is None
        clock.now += 5
        patience.moved(watch())
    assert patience.overlong(watch()) == "still running after 30 s (timeouts.total)"


def test_our_own_waits_are_not_the_trials() -> None:
    patience, watch, clock = _patience(10.0, 30.0)
    with watch.ours():
        clock.now += 1000
    assert patience.silent(watch()) is None
    assert patience.overlong(watch()) is None
    clock.now += 10
    assert "progress" in (patience.silent(watch()) or "")
    assert patience.overlong(watch()) is None
    clock.now += 20
    assert "total" in (patience.overlong(watch()) or "")


def test_null_waits_for_ever() -> None:
    patience, watch, clock = _patience(None, None)
    clock.now += 1e9
    assert patience.silent(watch()) is None
    assert patience.overlong(watch()) is None
