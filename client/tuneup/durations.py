"""Durations as people write them: `90`, `90s`, `30m`, `2h`, `1d`."""

import math
import re

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")


def parse_duration(text: str) -> float:
    """Return seconds. Raises ValueError for anything else than a positive number with at most one unit."""
    match = FORM.fullmatch(text.strip())
    seconds = float(match[1]) * SECONDS[match[2]] if match else math.nan
    if not (0 < seconds < math.inf):
        raise ValueError(f"{text!r} is not a duration: write a positive number and a unit, as in 90s, 30m or 2h")
    return seconds


def format_duration(seconds: float) -> str:
    """Write seconds with the two largest units that are not zero: `42s`, `1m 05s`, `2h 03m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02}m"
