"""How long to wait before asking again. Pure, but for the random number generator it is given."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BASE_SECONDS = 0.25
CAP_SECONDS = 10.0
RETRY_AFTER_CAP_SECONDS = 60.0


def backoff(attempt: int, *, rng: random.Random) -> float:
    """Return seconds to wait after failure number `attempt` (from 0): exponential with full jitter.

    Full jitter (uniform between zero and the exponential bound) spreads clients that failed together best.
    """
    return rng.uniform(0.0, min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(attempt, 20)))


def retry_after(header: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, at most a minute; None without a readable one."""
    if header is None:
        return None
    try:
        seconds = float(header) if header.strip().isdecimal() else _seconds_until(header, now=now)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(RETRY_AFTER_CAP_SECONDS, max(0.0, seconds))


def _seconds_until(date: str, *, now: datetime) -> float:
    when = parsedate_to_datetime(date)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now.timestamp()
