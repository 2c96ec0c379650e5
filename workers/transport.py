"""Redis as a doorbell that anybody may push anything at: what is no message is logged and dropped."""

import logging
from queue import Empty
from typing import Any

from kombu.transport import redis

log = logging.getLogger("tuneup.queue")

# What kombu raises on an entry that is not JSON, or is JSON and no message. Unhandled, it ends the worker.
_GARBAGE = (ValueError, TypeError, KeyError, AttributeError)


class Channel(redis.Channel):
    """Reads a queue."""

    def _brpop_read(self, **options: Any) -> bool:  # noqa: ANN401  passed on
        try:
            return bool(super()._brpop_read(**options))  # type: ignore[misc]
        except _GARBAGE as error:
            log.warning("an entry of the queue is no message and was dropped: %r", error)
            raise Empty from error


class Transport(redis.Transport):
    """Redis and Valkey, over TCP, TLS or a unix socket."""

    Channel = Channel
