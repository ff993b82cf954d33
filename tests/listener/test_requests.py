"""Attacks with requests: slow, large and many ones, and ones that are no HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from receiver.safe.connection import Limits
from receiver.safe.log_limit import LogLimit
from tests.listener.peers import TOKEN, listening, peers


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
