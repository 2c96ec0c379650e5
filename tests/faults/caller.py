"""One HTTP client of the service: whatever fails is sent again with the same Idempotency-Key, and the oracle hears of it."""

import http.client
import json
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlsplit

from tests.faults.oracle import Oracle

TIMEOUT_SECONDS = 15.0
PATIENCE_SECONDS = 120.0
TWINS = 0.1  # this share of POSTs is sent twice
_PAUSE_SECONDS = 0.3
_NOT_YET = "still being worked on"  # an earlier request with this key is


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service said in the end."""

    status: int
    body: Any


class Unanswered(Exception):
    """No API gave a last word while there was patience, or the clients were stopped."""


@dataclass(eq=False, slots=True)
class Caller:
    """Sends requests to whichever API answers. Threads may share it."""

    urls: Sequence[str]
    oracle: Oracle
    stopped: threading.Event
    complaints: list[str] = field(default_factory=list)
    _rng: Random = field(default_factory=Random)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Reply:
        """POST under a new Idempotency-Key until there is a last word, some at two APIs at once. Raise Unanswered."""
        request = ("POST", path, body, uuid.uuid4().hex)
        if self._rng.random() >= TWINS:
            return self._insist(*request)
        twin = threading.Thread(target=self._once, args=request)
        twin.start()
        try:
            return self._insist(*request)
        finally:
            twin.join()

    def patch(self, path: str, body: Mapping[str, Any]) -> Reply:
        """PATCH until there is a last word; setting a field twice is setting it once. Raise Unanswered."""
        return self._insist("PATCH", path, body, None)

    def get(self, path: str, *, patience: float = PATIENCE_SECONDS) -> Reply:
        """GET until there is a last word; the oracle does not hear of it. Raise Unanswered."""
        return self._insist("GET", path, None, None, patience)

    def _insist(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        key: str | None,
        patience: float = PATIENCE_SECONDS,
    ) -> Reply:
        end = time.monotonic() + patience
        while time.monotonic() < end and not self.stopped.is_set():
            reply = self._once(method, path, body, key)
            if reply is not None:
                return reply
            time.sleep(self._rng.uniform(0, _PAUSE_SECONDS))
        raise Unanswered(f"{method} {path}")

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None, key: str | None) -> Reply | None:
        """Send the request to one API; None where the same request must be sent again."""
        request = {"id": uuid.uuid4().hex, "method": method, "path": path, "key": key, "body": body}
        told = method != "GET"
        if told:
            self.oracle.write("http", event="request", **request)
        try:
            reply = exchange(self._rng.choice(self.urls), method, path, body, key)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        if told:
            self.oracle.write("http", event="reply", **request, status=reply.status, reply=reply.body)
        if reply.status == 500:
            self.complaints.append(f"{method} {path} was answered 500: {reply.body}")
        again = reply.status >= 500 or (reply.status == 409 and _NOT_YET in str(reply.body))
        return None if again else reply


def exchange(url: str, method: str, path: str, body: Mapping[str, Any] | None, key: str | None) -> Reply:
    """Send one request over a connection of its own. Raise OSError, HTTPException or ValueError where it breaks."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=TIMEOUT_SECONDS)
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key is not None else {})
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    return Reply(answer.status, json.loads(text) if text else None)
