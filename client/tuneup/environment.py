"""The client's settings from the environment; nothing else in this package reads it.

TUNEUP_URL      address of the service; http://127.0.0.1:8000 where it is not set
TUNEUP_API_KEY  bearer token, for a service that asks for one
"""

import os

DEFAULT_URL = "http://127.0.0.1:8000"


def service_url() -> str:
    return os.environ.get("TUNEUP_URL", "").strip() or DEFAULT_URL


def api_key() -> str | None:
    """Return the key without surrounding white space (keys read from files end in a newline), or None."""
    return os.environ.get("TUNEUP_API_KEY", "").strip() or None
