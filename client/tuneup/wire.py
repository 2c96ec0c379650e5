"""One HTTP connection to the service: address, key, retries, and problems turned into errors.

Every request may be repeated: GET and DELETE by nature, POST because it carries an Idempotency-Key that stays the same
over all its tries.
"""

import ipaddress
import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

import httpx2

from tuneup.errors import ApiError, TuneupError, Unreachable
from tuneup.problems import KINDS, json_object, problem
from tuneup.retry import BASE_SECONDS, backoff, retry_after
from tuneup.shapes import Json

RETRIED = frozenset({502, 503, 504})
# Retried only where the service says when: 409 then means that a twin of this very request is still in progress.
RETRIED_ON_REQUEST = frozenset({409, 429})
TIMEOUT_SECONDS = 30.0
RETRIES = 5
PATIENCE_SECONDS = 120.0
NOTHING: Mapping[str, str] = MappingProxyType({})


class Wire:
    """A connection to one service, shared by a client and its studies."""

    def __init__(
        self,
        *,
        url: str,
        api_key: str | None = None,
        transport: httpx2.BaseTransport | None = None,
        retries: int = RETRIES,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        address = _address(url)
        self.url = str(address).rstrip("/")
        self._retries = retries
        self._patience = patience
        self._rng = random.Random()
        self._http = httpx2.Client(
            base_url=f"{self.url}/v1",
            headers={"Accept": "application/json"} | _authorization(api_key),
            timeout=TIMEOUT_SECONDS,
            transport=transport,
            # A proxy named in the environment cannot reach this machine's own loopback.
            trust_env=not is_loopback(address.host),
        )

    def close(self) -> None:
        self._http.close()

    def get(
        self, path: str, *, params: Mapping[str, str | Sequence[str]] = NOTHING, deadline: float | None = None
    ) -> Json:
        return json_object(self.send("GET", path, params=params, deadline=deadline))

    def pages(self, path: str, *, params: Mapping[str, str]) -> Iterator[Json]:
        """Yield the items of a list, fetching page after page as they are consumed."""
        cursor: str | None = None
        while True:
            page = self.get(path, params={**params, "cursor": cursor} if cursor else params)
            yield from page.get("data", ())
            following = page.get("next")
            if not following or following == cursor:
                return
            cursor = following

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | Sequence[str]] = NOTHING,
        body: Json | None = None,
        key: str | None = None,
        kinds: Mapping[int, type[ApiError]] = KINDS,
        deadline: float | None = None,
        patiently: bool = False,
    ) -> httpx2.Response:
        """Send until answered. `key` is the Idempotency-Key; `deadline` (time.monotonic) ends the tries early.

        `patiently` outlasts a service that is being restarted. Raises the ApiError that the answer stands for, or Unreachable.
        """
        request = self._http.build_request(
            method, path, params=dict(params), json=body, headers={"Idempotency-Key": key} if key else None
        )
        began = time.monotonic()
        for attempt in itertools.count():
            outcome = self._try(request, kinds=kinds, deadline=deadline)
            if isinstance(outcome, httpx2.Response):
                return outcome
            failure, asked = outcome
            pause = backoff(attempt, rng=self._rng) if asked is None else asked + self._rng.uniform(0.0, BASE_SECONDS)
            spent = attempt >= self._retries and not (patiently and time.monotonic() - began < self._patience)
            if spent or (deadline is not None and time.monotonic() + pause > deadline):
                raise failure
            time.sleep(pause)
        raise AssertionError("unreachable: the count of attempts does not end")

    def _try(
        self, request: httpx2.Request, *, kinds: Mapping[int, type[ApiError]], deadline: float | None
    ) -> httpx2.Response | tuple[TuneupError, float | None]:
        """Send once. Returns the answer, or a failure worth another try with the pause that the service asked for."""
        request.extensions = {**request.extensions, "timeout": _timeout(deadline).as_dict()}
        try:
            response = self._http.send(request)
        except httpx2.TransportError as error:
            return Unreachable(f"no answer from {self.url}: {str(error) or type(error).__name__}"), None
        except httpx2.RequestError as error:
            raise Unreachable(f"no usable answer from {self.url}: {error}") from error
        if response.is_success:
            return response
        failure = problem(response, kinds=kinds)
        pause = retry_after(response.headers.get("Retry-After"), now=datetime.now(UTC))
        if response.status_code in RETRIED:
            return Unreachable(f"no service at {self.url}: {response.status_code} {failure}"), pause
        if response.status_code in RETRIED_ON_REQUEST and pause is not None:
            return failure, pause
        raise failure


def is_loopback(host: str) -> bool:
    """Tell whether `host` is this machine's own loopback: localhost, 127.0.0.0/8 or ::1."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _address(url: str) -> httpx2.URL:
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise Unreachable(f"{url!r} is not an address: {error}") from error
    if address.scheme not in {"http", "https"} or not address.host:
        raise Unreachable(f"{url!r} is not an address: write it as http://host:port or https://host")
    return address


def _authorization(api_key: str | None) -> dict[str, str]:
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()):
        raise TuneupError("the API key has characters that a header cannot carry; check TUNEUP_API_KEY or --api-key")
    return {"Authorization": f"Bearer {api_key}"}


def _timeout(deadline: float | None) -> httpx2.Timeout:
    remaining = TIMEOUT_SECONDS if deadline is None else deadline - time.monotonic()
    return httpx2.Timeout(min(TIMEOUT_SECONDS, max(0.1, remaining)))
