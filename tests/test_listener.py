"""Attacks on our HTTP listener, in a short form: idle floods, slow and large requests,
no descriptors, and what is no HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest
from aiohttp import web

from receiver.kernel.descriptors import Reserve, raise_limit
from receiver.safe.connection import ClientConnection, Limits
from receiver.safe.listener import SocketListener
from receiver.safe.log_limit import LogLimit

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


async def test_idle_connections_make_room_for_whoever_asks() -> None:
    async with listening() as listener, peers(listener, 200):
        for _ in range(3):
            async with peers(listener, 1) as (prober,):
                assert await prober.ask() == 200
        assert len(listener) <= 16
        assert listener.counts["evicted"] >= 184


async def test_connections_with_the_token_are_kept_and_have_a_cap_of_their_own() -> None:
    async with (
        listening(Limits(connections=12, unproven=4)) as listener,
        peers(listener, 1) as (first,),
    ):
        assert await first.ask("/closed", TOKEN) == 200
        async with peers(listener, 40):
            assert await first.ask("/closed", TOKEN) == 200  # the flood has not touched it
            for number in range(10):  # with the first one: three more than there is room for
                async with peers(listener, 1) as (caller,):
                    assert await caller.ask("/closed", TOKEN) == 200, number
                    assert len(listener) <= 12
            assert await first.ask("/closed", TOKEN) in (0, 200)


async def test_a_head_that_never_ends_and_a_connection_without_one() -> None:
    async with (
        listening(Limits(header_seconds=0.2)) as listener,
        peers(listener, 2) as (silent, slow),
    ):
        slow.writer.write(b"GET /open HTTP/1.1\r\nX-")
        for byte in (b"a", b"b"):
            await asyncio.sleep(0)
            slow.writer.write(byte)
        await asyncio.gather(silent.ended(), slow.ended())
        assert listener.counts["header_timeout"] == 2 and len(listener) == 0


async def test_the_time_for_a_head_begins_with_its_first_byte_also_after_an_answer() -> None:
    async with (
        listening(Limits(header_seconds=0.3, idle_seconds=3600)) as listener,
        peers(listener, 1) as (peer,),
    ):
        assert await peer.ask() == 200
        peer.writer.write(b"GET /op")
        await peer.ended()
        assert listener.counts["header_timeout"] == 1


async def test_idle_connections_end_without_a_word() -> None:
    async with listening(Limits(idle_seconds=0.2)) as listener, peers(listener, 1) as (peer,):
        assert await peer.ask() == 200
        await peer.ended()
        assert not listener.counts


async def test_a_body_that_never_ends() -> None:
    async with listening(Limits(body_seconds=0.3)) as listener, peers(listener, 1) as (peer,):
        peer.writer.write(
            b"POST /closed HTTP/1.1\r\nHost: x\r\n" + TOKEN + b"Content-Length: 1000\r\n\r\nabc"
        )
        await peer.ended()
        assert listener.counts["body_timeout"] == 1


async def test_an_answer_that_nobody_reads() -> None:
    async with listening(Limits(answer_seconds=0.5)) as listener:
        with socket.create_connection(listener.addresses[0]) as peer:
            peer.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            while not listener.counts["answer_timeout"]:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("token", [TOKEN, b""], ids=["token", "no token"])
async def test_a_body_of_100_mb_is_refused_and_not_read(framing: str, token: bytes) -> None:
    chunk = bytes(1 << 16)
    head = (
        b"Content-Length: 104857600\r\n"
        if framing == "length"
        else b"Transfer-Encoding: chunked\r\n"
    )
    data = chunk if framing == "length" else b"10000\r\n" + chunk + b"\r\n"
    async with listening() as listener, peers(listener, 1) as (peer,):
        peer.writer.write(b"POST /closed HTTP/1.1\r\nHost: x\r\n" + token + head + b"\r\n")
        sent = 0
        try:
            while sent < 100 << 20:
                peer.writer.write(data)
                sent += len(data)
                await peer.writer.drain()
        except ConnectionError:
            pass
        assert sent < 16 << 20  # what two kernels hold; the service has read half a MiB
        await peer.ended()


async def test_a_large_body_is_answered_with_413_by_its_length_alone() -> None:
    async with listening() as listener, peers(listener, 1) as (peer,):
        body = bytes(300 << 10)
        peer.writer.write(
            b"POST /closed HTTP/1.1\r\nHost: x\r\n"
            + TOKEN
            + b"Content-Length: %d\r\n\r\n" % len(body)
            + body
        )
        assert await peer.status() == 413


async def test_many_requests_on_one_connection_and_in_one_packet() -> None:
    async with listening() as listener, peers(listener, 2) as (polite, pipelining):
        for _ in range(200):
            assert await polite.ask() == 200
        pipelining.writer.write(b"GET /open HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        assert [await pipelining.status() for _ in range(500)] == [200] * 500
        assert not listener.counts


async def test_what_is_no_http_and_what_is_our_mistake_leave_few_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with listening() as listener:
        for raw in [
            b"\x16\x03\x01\x02\x00\x01",
            b"GET / HTTP/9.9\r\n\r\n",
            b"A" * 20_000,
            b"GET /open HTTP/1.1\r\nA : b\r\n\r\n",
        ] * 10:
            async with peers(listener, 1) as (peer,):
                peer.writer.write(raw)
                peer.writer.write_eof()
                await peer.ended()
        for _ in range(20):
            async with peers(listener, 1) as (peer,):
                assert await peer.ask("/broken") == 500
    lines = [r for r in caplog.records if r.name != "asyncio"]
    assert len(lines) <= 3 and not any(r.exc_info or "\n" in r.getMessage() for r in lines)
    assert any("a mistake" in r.getMessage() for r in lines)


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(400, soft), hard))
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_a_free_descriptor_a_probe_is_still_answered() -> None:
    async with listening() as listener:
        loop, probes = asyncio.get_running_loop(), []
        for _ in range(12):
            probes.append(socket.socket())
            probes[-1].setblocking(False)
        with no_descriptors_left():
            for probe in probes:  # each of them is left open
                await loop.sock_connect(probe, listener.addresses[0])
                await loop.sock_sendall(probe, b"GET /open HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await loop.sock_recv(probe, 1000)).startswith(b"HTTP/1.1 200")
        assert listener.counts["no_descriptor"] >= 8
        for probe in probes:
            probe.close()


def test_the_limit_of_descriptors_is_raised_and_the_old_one_is_given() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, before[1]))
        assert raise_limit() == (500, before[1])
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(65_536, before[1])
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(65_536, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_reserve_gives_and_takes_back() -> None:
    reserve = Reserve(3)
    assert reserve.give() and len(reserve) == 2
    with reserve.lent():
        assert len(reserve) == 0 and not reserve.give()
    assert len(reserve) == 3
    reserve.close()


def test_a_log_line_of_a_kind_is_written_once_in_an_interval(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    limit = LogLimit(logging.getLogger("x"), 10.0, lambda: now)
    for _ in range(1000):
        limit.say(logging.WARNING, "a", "%s happened", "it")
    limit.say(logging.WARNING, "b", "other")
    now = 11.0
    limit.say(logging.WARNING, "a", "%s happened", "it")
    assert [r.getMessage() for r in caplog.records] == [
        "it happened",
        "other",
        "it happened (and 999 more like it since the last line)",
    ]
    for number in range(1000):
        limit.say(logging.WARNING, f"kind {number}", "many kinds")
    assert len(caplog.records) < 100 and limit.suppressed() > 900
