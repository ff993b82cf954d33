"""One connection of an HTTP listener: its timers, and the bytes that it may send."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol, cast

import msgspec
from aiohttp import web

from receiver.safe.log_limit import LogLimit
from receiver.text.printable import printable
from receiver.units import KIB

CLOSE_SECONDS = 1.0
READ_BUFFER = 32 * KIB
_SILENT = logging.Logger("aiohttp without output")
_SILENT.setLevel(logging.CRITICAL + 1)


class Limits(msgspec.Struct, frozen=True):
    """Limits of one listener.

    Seconds count from the first byte of the limited part. Bytes are those of one request on the
    wire.
    """

    connections: int = 64
    unproven: int = 16  # of these, connections that have not presented the token
    request_bytes: int = 512 * KIB
    header_seconds: float = 5.0
    body_seconds: float = 10.0
    answer_seconds: float = 10.0
    idle_seconds: float = 15.0


class Owner(Protocol):
    """The listener of a connection."""

    name: str
    limits: Limits
    limited: LogLimit

    def count(self, reason: str) -> None: ...

    def lost(self, connection: ClientConnection) -> None: ...


class ClientConnection(web.RequestHandler):
    """One connection. `proven`: it has presented the token."""

    def __init__(self, owner: Owner, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=owner.limits.idle_seconds,
            lingering_time=CLOSE_SECONDS,
            access_log=_SILENT,
            logger=_SILENT,
            read_bufsize=READ_BUFFER,
            auto_decompress=False,
        )
        self.proven = False
        self.busy = False  # a request is being answered
        self.wire: asyncio.Transport | None = None
        self.since = asyncio.get_running_loop().time()
        self.deadline, self.late = self.since + owner.limits.header_seconds, "header_timeout"
        self._owner = owner
        self._received = 0
        self._begun = True  # from the first byte of a request, and for a new connection immediately

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = cast("asyncio.Transport", transport)  # uvloop's class only has the same methods
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._owner.lost(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if data and not self.busy and not self._begun:
            self._begun = True
            self._until(self._owner.limits.header_seconds, "header_timeout")
        self._received += len(data)
        if self._received > self._owner.limits.request_bytes:
            self._owner.count("too_large")
            self.force_close()  # pending answers are still sent; further input is not read
            return
        super().data_received(data)

    def body_begins(self) -> None:
        """Called when the head of a request is complete."""
        self.busy = True
        self._until(self._owner.limits.body_seconds, "body_timeout")

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends the answer. Closes the connection if the peer does not read it."""
        self._until(self._owner.limits.answer_seconds, "answer_timeout")
        done = await super().finish_response(request, resp, start_time)
        self.busy = self._begun = False
        self._received = 0 if request.content.is_eof() else self._received
        self._until(self._owner.limits.idle_seconds, "")
        return done

    def _until(self, seconds: float, late: str) -> None:
        self.since = self._loop.time()
        self.deadline, self.late = self.since + seconds, late

    def log_exception(self, *_: Any, **kw: Any) -> None:
        """One line for errors that aiohttp would log with a traceback: a request that is not HTTP,
        or a defect of kwitness.
        """
        cause = kw.get("exc_info")
        if isinstance(cause, web.HTTPException) or type(cause).__module__.startswith("aiohttp."):
            self._owner.count("bad_request")
        else:
            text = printable(f"{type(cause).__name__}: {cause}")[:200]
            self._owner.limited.say(
                logging.ERROR, "failed", "%s: a request failed: %s", self._owner.name, text
            )

    def abort(self) -> None:
        if self.wire is not None:
            self.wire.abort()
