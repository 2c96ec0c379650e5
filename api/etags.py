"""ETag and 304 for every GET: a poller that has the newest answer is told so in a few bytes. HEAD is a GET unseen."""

import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Etags:
    """Tags each complete 200 answer to a GET with a hash of its body, and answers 304 where it is known already."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass all but GET and HEAD through untouched."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            await self._app(scope, receive, send)
            return
        known = ",".join(Headers(scope=scope).getlist("if-none-match"))
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, _bodiless(send)
        await self._app(scope, receive, _Tagger(send, known))


def _bodiless(send: Send) -> Send:
    async def head_only(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return head_only


class _Tagger:
    """Holds back the head of an answer until its body is known; a streamed body passes untagged."""

    def __init__(self, send: Send, known: str) -> None:
        self._send = send
        # Tags are compared weakly: a proxy that packs an answer marks its tag as weak.
        self._known = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        self._head: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None and message["type"] == "http.response.body":
            if message.get("more_body", False):
                await self._send(head)
            else:
                await self._answer(head, message)
                return
        await self._send(message)

    async def _answer(self, head: Message, body: Message) -> None:
        headers = MutableHeaders(scope=head)
        tag = headers.get("etag") or f'"{hashlib.sha256(body.get("body", b"")).hexdigest()[:32]}"'
        headers["etag"] = tag
        headers.setdefault("cache-control", "no-cache")
        if tag in self._known or "*" in self._known:
            del headers["content-length"]
            head["status"] = 304
            body = {"type": "http.response.body", "body": b""}
        await self._send(head)
        await self._send(body)
