"""A listener with an application, and clients that write bytes to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from receiver.safe.connection import ClientConnection, Limits
from receiver.safe.listener import SocketListener

TOKEN = b"Authorization: Bearer secret\r\n"


def application(listener: list[SocketListener]) -> web.Application:
    """/open for everybody, /closed with the token, /large an answer of 64 MiB,
    /broken a mistake."""

    async def closed(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer secret":
            raise web.HTTPUnauthorized
        connection = request.protocol
        assert isinstance(connection, ClientConnection)
        if not listener[0].prove(connection):
            raise web.HTTPServiceUnavailable(headers={"Connection": "close"})
        return web.Response(text=str(len(await request.read())))

    async def broken(_: web.Request) -> web.Response:
        raise ValueError("a mistake\nin two lines")

    async def opened(_: web.Request) -> web.Response:
        return web.Response(text="open")

    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(64 << 20))

    app = web.Application(client_max_size=256 << 10)
    app.router.add_get("/open", opened)
    app.router.add_get("/large", large)
    app.router.add_get("/broken", broken)
    app.router.add_post("/closed", closed)
    app.router.add_get("/closed", closed)
    return app


@asynccontextmanager
async def listening(limits: Limits | None = None) -> AsyncIterator[SocketListener]:
    own: list[SocketListener] = []
    own.append(SocketListener("test", application(own), limits or Limits()))
    await own[0].start("127.0.0.1", 0)
    try:
        yield own[0]
    finally:
        await own[0].close()


class Peer:
    """A client that may behave as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, path: str = "/open", headers: bytes = b"") -> int:
        self.writer.write(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        return await self.status()

    async def status(self) -> int:
        """Of the next answer, 0 when there is none."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        length = next(
            (
                int(x.split(b":")[1])
                for x in head.split(b"\r\n")
                if x.lower().startswith(b"content-length:")
            ),
            0,
        )
        await self.reader.readexactly(length)
        return int(head.split()[1])

    async def ended(self) -> None:
        try:
            while await self.reader.read(1 << 16):
                pass
        except ConnectionError:
            pass

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


@asynccontextmanager
async def peers(listener: SocketListener, count: int) -> AsyncIterator[list[Peer]]:
    found = [Peer(*await asyncio.open_connection(*listener.addresses[0])) for _ in range(count)]
    try:
        yield found
    finally:
        for peer in found:
            await peer.close()
