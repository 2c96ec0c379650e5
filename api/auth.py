"""Who may call: with a key set, whoever sends it as a bearer token (or, from a browser, as a Basic password)."""

import base64
import binascii
import secrets

from fastapi import HTTPException, Request

from api.deps import Given

# Basic first, and a realm on both: else browsers do not ask for a password.
_CHALLENGE = 'Basic realm="tuneup", charset="UTF-8", Bearer realm="tuneup"'


def require_key(request: Request, services: Given) -> None:
    """Let the request pass, or answer 401. Without a key the server listens on loopback alone and asks nobody."""
    if services.api_key is None:
        return
    offered = _offered(request.headers.get("authorization", ""))
    if offered is None or not secrets.compare_digest(offered.encode(), services.api_key.encode()):
        raise HTTPException(
            401,
            "this server wants its key: send Authorization: Bearer $TUNEUP_API_KEY",
            headers={"WWW-Authenticate": _CHALLENGE},
        )


def _offered(header: str) -> str | None:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None
