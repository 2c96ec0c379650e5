"""A TCP proxy that hurts what passes: late, held, reset, cut in the middle, or with the reply to a COMMIT lost.

It runs in a thread of its own. Whoever holds a `Proxy` sets its fields and calls its methods from any thread.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

T = TypeVar("T")

CHUNK = 65536
# How a driver says COMMIT in one message: a simple query; in the extended protocol the text ends in a zero byte too.
COMMIT = b"COMMIT\x00"
_LOOK_SECONDS = 0.02

CommitFault = Literal["reply lost", "swallowed"]


@dataclass(eq=False, slots=True)
class _Link:
    """One client's connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    # What is left before the link is cut, counted from the client to the server.
    allowance: int | None = None
    reply_lost: bool = False

    def reset(self) -> None:
        """Drop both halves; each side sees a reset, as after a crash."""
        for writer in (self.client, self.server):
            connection = writer.get_extra_info("socket")
            if connection is not None:
                with suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def close(self) -> None:
        """Close both halves in order: what was passed on still arrives."""
        self.client.close()
        self.server.close()


@dataclass(eq=False, slots=True)
class Proxy:
    """Passes bytes between clients and the server on `target`, a loopback port. Times are in seconds."""

    target: int
    port: int = 0
    latency: float = 0.0
    hole: bool = False  # bytes and new connections wait until it closes
    refused: bool = False  # new connections are closed at once
    hurt: int = 0  # how many COMMITs have been
    _commits: list[CommitFault] = field(default_factory=list)  # for the next ones, on whichever link they come
    _links: set[_Link] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _server: asyncio.Server | None = None

    def start(self) -> None:
        """Listen on a free loopback port from now on, in a thread."""
        threading.Thread(target=self._loop.run_forever, name=f"proxy {self.target}", daemon=True).start()
        self.port = self._do(self._listen())

    @property
    def links(self) -> int:
        """How many connections pass through it now."""
        return len(self._links)

    def reset(self) -> int:
        """Reset every link; return how many there were."""
        return self._do(self._reset())

    def cut_after(self, count: int) -> None:
        """Reset each link that is open now once `count` more bytes went from its client to the server."""
        self._do(self._allow(count))

    def hurt_commits(self, how: CommitFault, count: int) -> None:
        """Let the next `count` COMMITs be done without a reply, or be lost themselves; each costs its link."""
        self._commits = [how] * count

    def heal(self) -> None:
        """Let everything pass again, on the links there are and on new ones."""
        self.latency, self.hole, self.refused, self._commits = 0.0, False, False, []
        self._do(self._allow(None))

    def stop(self) -> None:
        """Reset every link and end the thread."""
        self.heal()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._reset()
        while self._links:  # noqa: ASYNC110  only to end
            await asyncio.sleep(_LOOK_SECONDS)

    async def _reset(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    async def _allow(self, count: int | None) -> None:
        for link in self._links:
            link.allowance = count

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._hold()
        if self.refused:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, server_writer)
        self._links.add(link)
        try:
            await asyncio.gather(self._upward(reader, link), self._downward(server_reader, link))
        finally:
            self._links.discard(link)

    async def _upward(self, reader: asyncio.StreamReader, link: _Link) -> None:
        """Pass what the client says to the server."""
        while data := await self._next(reader):
            if self._commits and COMMIT in data:
                self.hurt += 1
                if self._commits.pop() == "swallowed":
                    link.reset()
                    return
                link.reply_lost = True
            if link.allowance is not None:
                data, link.allowance = data[: link.allowance], link.allowance - len(data)
            await _send(link.server, data)
            if link.allowance is not None and link.allowance <= 0:
                # What was allowed still arrives: a reset would overtake it.
                await asyncio.sleep(_LOOK_SECONDS)
                link.reset()
                return
        link.close()

    async def _downward(self, reader: asyncio.StreamReader, link: _Link) -> None:
        """Pass what the server says to the client."""
        while data := await self._next(reader):
            if link.reply_lost:
                link.reset()  # the commit is done, and its client will never hear of it
                return
            await _send(link.client, data)
        link.close()

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        try:
            data = await reader.read(CHUNK)
        except OSError:
            return b""
        if self.latency:
            await asyncio.sleep(self.latency)
        await self._hold()
        return data

    async def _hold(self) -> None:
        while self.hole:  # noqa: ASYNC110  set from other threads
            await asyncio.sleep(_LOOK_SECONDS)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    with suppress(OSError):
        writer.write(data)
        await writer.drain()
