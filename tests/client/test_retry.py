import random
from datetime import UTC, datetime

import pytest

from tuneup.retry import BASE_SECONDS, CAP_SECONDS, backoff, retry_after

NOW = datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("attempt", [0, 1, 3, 10, 5000])
def test_backoff_spreads_between_zero_and_an_exponential_bound(attempt: int) -> None:
    rng = random.Random(attempt)
    bound = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(attempt, 10))
    pauses = [backoff(attempt, rng=rng) for _ in range(500)]
    assert 0 <= min(pauses) < 0.1 * bound
    assert 0.9 * bound < max(pauses) <= bound


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("0", 0.0),
        ("86400", 60.0),
        ("Wed, 01 Jan 2025 12:00:05 GMT", 5.0),
        ("Wed, 01 Jan 2025 11:00:00 GMT", 0.0),
        ("Wed, 01 Jan 2025 12:00:05 -0000", 5.0),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
    ],
)
def test_retry_after_is_read_and_bounded(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=NOW) == seconds
