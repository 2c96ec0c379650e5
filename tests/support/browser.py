"""The Chromium that the page tests drive."""

import os
import shutil
from pathlib import Path

VARIABLE = "TUNEUP_TEST_CHROMIUM"
REMEDY = f"No Chromium for the tests. Install it (Debian: apt-get install chromium) or set {VARIABLE} to its path."
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def executable() -> Path | None:
    """Return the browser's program, or None where there is none."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return Path(found) if found else None
