"""An HTTP listener that a remote caller cannot exhaust.

It limits the number of connections, sets timers for heads, bodies and answers, and closes early on
large bodies. aiohttp has none of these on the server side. Connections are accepted here, so that
the limit applies before any object is made for them. At the limit, the oldest idle connection
without the token is closed for the new one: a caller who connects and sends a request at once is
answered, however many connections others hold open. Sources: accept(2); tcp(7); the slow attacks of
CAPEC-469.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import select
import socket
import ssl
from collections import Counter
from typing import Any

from aiohttp import web

from receiver import semconv as sc
from receiver.kernel.descriptors import EXHAUSTED, Reserve
from receiver.safe.connection import CLOSE_SECONDS, ClientConnection, Limits
from receiver.safe.log_limit import LogLimit
from receiver.signals import Metric, Point
from receiver.units import KIB

log = logging.getLogger("kwitness.listener")
BACKLOG = 128
ACCEPTS = 4  # at a time: so a connection is read before so many others arrive that it is the oldest
SPARE_DESCRIPTORS = 4
SWEEP_SECONDS = 0.25
RETRY_SECONDS = 0.1
RECEIVE_BUFFER = (
    128 * KIB
)  # of the kernel, which doubles it; without it one connection may use tcp_rmem[2], about 6 MiB
_GONE = {
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.EPERM,
    errno.EINTR,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.ETIMEDOUT,
}


class SocketListener:
    """Serves `app` until `close`.

    `counts`: connections that were closed before an answer, by reason.
    """

    def __init__(
        self, name: str, app: web.Application, limits: Limits, tls: ssl.SSLContext | None = None
    ) -> None:
        self.name, self.limits = name, limits
        self.counts: Counter[str] = Counter()
        self.limited = LogLimit(log)
        self._tls = tls
        app.middlewares.insert(0, _timed)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_SECONDS)
        self._connections: dict[ClientConnection, asyncio.Task[None]] = {}
        self._sockets: list[socket.socket] = []
        self._reserve = Reserve(SPARE_DESCRIPTORS)
        self._sweeper: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [s.getsockname()[:2] for s in self._sockets]

    def __len__(self) -> int:
        return len(self._connections)

    async def start(self, host: str, port: int) -> None:
        """Raises OSError when the address cannot be listened on."""
        loop = asyncio.get_running_loop()
        await self._runner.setup()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listening = socket.socket(family, kind, protocol)
            self._sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)  # inherited
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.setblocking(False)
            listening.bind(address)
            listening.listen(BACKLOG)
        self._listen()

    def _listen(self) -> None:
        self._retry = None
        for listening in self._sockets:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _pause(self) -> None:
        """The connection stays in the backlog: accepting again at once would be a busy loop."""
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            loop.remove_reader(listening)
        self._retry = self._retry or loop.call_later(RETRY_SECONDS, self._listen)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS):
            try:
                accepted, _ = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _GONE:
                    continue
                if not _waiting(
                    listening
                ):  # accept(2) needs a free descriptor even when no connection waits
                    return
                if error.errno not in EXHAUSTED or not self._make_room():
                    self._pause()
                    return
                continue
            self._admit(accepted)

    def _make_room(self) -> bool:
        """Frees a descriptor of the reserve, and closes a connection soon to refill it.

        False: there is none to free.
        """
        if (victim := self._oldest(lambda c: not c.busy)) is not None:
            self._evict(victim, "no_descriptor")
        if self._reserve.give():
            return True
        self.limited.say(
            logging.WARNING,
            "wait",
            "%s: no file descriptor is free: new connections wait; raise LimitNOFILE=",
            self.name,
        )
        return False

    def _admit(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        if sum(not c.proven for c in self._connections) >= self.limits.unproven:
            victim = self._oldest(lambda c: not c.proven and not c.busy) or self._oldest(
                lambda c: not c.proven
            )
            assert victim is not None
            self._evict(victim, "evicted")
        assert self._runner.server is not None
        connection = ClientConnection(self, self._runner.server)
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._connect(connection, accepted))
        task.add_done_callback(lambda t: _connected(t, connection, accepted))
        self._connections[connection] = task
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)

    async def _connect(self, connection: ClientConnection, accepted: socket.socket) -> None:
        handshake = (
            {
                "ssl_handshake_timeout": self.limits.header_seconds,
                "ssl_shutdown_timeout": CLOSE_SECONDS,
            }
            if self._tls
            else {}
        )
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, accepted, ssl=self._tls, **handshake
            )
        except (OSError, ssl.SSLError):
            self.lost(connection)
            self.count("no_handshake")

    def _oldest(self, wanted: Any) -> ClientConnection | None:
        return min((c for c in self._connections if wanted(c)), key=lambda c: c.since, default=None)

    def prove(self, connection: ClientConnection) -> bool:
        """This connection has presented the token.

        False when all places of such connections are taken and none can be freed.
        """
        if connection.proven:
            return True
        if (
            sum(c.proven for c in self._connections)
            >= self.limits.connections - self.limits.unproven
        ):
            victim = self._oldest(lambda c: c.proven and not c.busy)
            if victim is None:
                return False
            self._evict(victim, "evicted")
        connection.proven = True
        return True

    def _evict(self, connection: ClientConnection, reason: str) -> None:
        self.count(reason)
        task = self._connections.pop(connection)
        task.cancel()
        connection.abort()

    def lost(self, connection: ClientConnection) -> None:
        self._connections.pop(connection, None)

    def _sweep(self) -> None:
        """Closes late connections. An idle connection is closed without being counted."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [c for c in self._connections if c.deadline < now]:
            self._evict(connection, connection.late)
        self._reserve.refill()
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep) if self._connections else None

    def count(self, reason: str) -> None:
        """Counts a connection that is closed, or a request that is refused, before an answer.

        An empty reason counts nothing.
        """
        if reason:
            self.counts[reason] += 1
            self.limited.say(
                logging.WARNING, reason, "%s: a connection was closed: %s", self.name, reason
            )

    def metrics(self) -> tuple[Metric, ...]:
        points = tuple(
            Point(
                (
                    (sc.PIPELINE_OBSERVER_ENDPOINT, self.name),
                    (sc.PIPELINE_OBSERVER_LOSS_REASON, reason),
                ),
                n,
            )
            for reason, n in sorted(self.counts.items())
        )
        return (Metric(*sc.METRIC_PIPELINE_OBSERVER_CONNECTIONS_CLOSED, points),)

    async def close(self) -> None:
        """Requests that are being answered get CLOSE_SECONDS; other connections are closed
        at once.
        """
        loop = asyncio.get_running_loop()
        for timer in (self._sweeper, self._retry):
            if timer is not None:
                timer.cancel()
        for listening in self._sockets:
            loop.remove_reader(listening)
            listening.close()
        self._sockets = []
        for connection in [c for c in self._connections if not c.busy]:
            self._evict(connection, "")
        busy = dict(self._connections)
        await self._runner.cleanup()
        for connection, task in busy.items():
            task.cancel()
            connection.abort()
        self._connections.clear()
        self._reserve.close()
        await asyncio.sleep(0)  # the loop closes the aborted sockets
        await asyncio.sleep(0)


def _waiting(listening: socket.socket) -> bool:
    """Whether a connection is in the backlog. Needs no descriptor."""
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))


def _connected(
    task: asyncio.Task[None], connection: ClientConnection, accepted: socket.socket
) -> None:
    """A task that is cancelled before its first step has not taken over the socket."""
    if connection.wire is None and (task.cancelled() or task.exception() is not None):
        accepted.close()


@web.middleware
async def _timed(request: web.Request, handler: Any) -> web.StreamResponse:
    if isinstance(request.protocol, ClientConnection):
        request.protocol.body_begins()
    answer: web.StreamResponse = await handler(request)
    return answer
