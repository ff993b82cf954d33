"""Servers that answer in the same bad way again and again: what is sent stays bounded,
and nothing is counted twice."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import grpc
import pytest

from receiver.export.options import BatchSettings
from receiver.export.outcome import Backoff, Outcome
from receiver.export.pipeline import Pipeline
from tests.export.fake import GrpcFake, HttpFake, partial, retry_info, until
from tests.export.pipelines import envelope, fill, finish, grpc_pipeline, http_pipeline, records

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


class Noted(Backoff):
    """Keeps what was asked for and how long the wait would be, and waits for 1 ms."""

    def __init__(self, waits: list[tuple[float | None, float]]) -> None:
        super().__init__()
        self._waits = waits

    def wait_seconds(self, after: float | None = None) -> float:
        self._waits.append((after, super().wait_seconds(after)))
        return 0.001


def noted(pipeline: Pipeline) -> list[tuple[float | None, float]]:
    waits: list[tuple[float | None, float]] = []
    pipeline.new_backoff = lambda: Noted(waits)
    return waits


def assert_grows(waits: list[tuple[float | None, float]]) -> None:
    """Every wait is that of our own backoff, whatever was asked for."""
    for number, (_, wait) in enumerate(waits):
        base = min(1.5**number, 30.0)
        assert 0.8 * base <= wait <= 1.2 * base


@pytest.mark.parametrize(
    "value", ["0", "-1", "Thu, 01 Jan 2015 00:00:00 GMT", "Thu, 01 Jan 2015 00:00:00", "nan"]
)
async def test_a_retry_after_of_nothing_meets_our_own_backoff(value: str) -> None:
    fake = HttpFake()
    fake.script += [(503, {"Retry-After": value}, b"")] * 12
    await fake.start()
    pipeline = http_pipeline(fake.port)
    waits = noted(pipeline)
    fill(pipeline, records(5))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.exported == 5)
    await finish(pipeline, task)
    await fake.stop()
    assert (fake.requests, len(waits), len(fake.accepted)) == (13, 12, 5)
    assert_grows(waits)


async def test_a_retry_info_of_nothing_meets_our_own_backoff() -> None:
    fake = GrpcFake()
    fake.script += [(grpc.StatusCode.UNAVAILABLE, "busy", retry_info(0))] * 12
    await fake.start()
    pipeline = grpc_pipeline(fake.port)
    waits = noted(pipeline)
    fill(pipeline, records(5))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.exported == 5)
    await finish(pipeline, task)
    await fake.stop()
    assert (fake.requests, [asked for asked, _ in waits]) == (13, [0.0] * 12)
    assert_grows(waits)


async def test_a_server_that_refuses_every_size_is_asked_a_few_times_only() -> None:
    """413 for whatever comes: not one request for each item, twice."""
    fake = HttpFake(max_bytes=0)
    await fake.start()
    pipeline = http_pipeline(fake.port, BatchSettings(delay_seconds=0.01, batch_items=1000))
    fill(pipeline, records(40) * 25)
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.failed["too_large"] == 1000)
    await finish(pipeline, task)
    await fake.stop()
    assert fake.requests < 100
    assert fake.accepted == []


async def test_a_flood_of_partial_success_counts_each_item_once() -> None:
    fake = HttpFake()
    fake.script += [
        (200, {"Content-Type": "application/x-protobuf"}, partial(2**63 - 1, "no " * 99))
    ] * 5
    await fake.start()
    pipeline = http_pipeline(fake.port)
    fill(pipeline, records(50))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.rejected == 50)
    await finish(pipeline, task)
    await fake.stop()
    assert (fake.requests, pipeline.exported) == (5, 0)


async def raw_server(answer: Answer) -> tuple[asyncio.Server, int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "localhost", 0, family=socket.AF_INET)
    return server, server.sockets[0].getsockname()[1]


async def head(reader: asyncio.StreamReader) -> None:
    """Reads one whole request."""
    text = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (line for line in text.split(b"\r\n") if line.lower().startswith(b"content-length:")), b":0"
    )
    await reader.readexactly(int(length.partition(b":")[2]))


def replying(reply: bytes) -> Answer:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(reply)
        await writer.drain()

    return answer


ACCEPTED = {
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 50 + OK,
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
}
REFUSED = {
    "http_301": b"HTTP/1.1 301 Moved\r\nLocation: http://localhost:1/\r\nContent-Length: 0\r\n\r\n",
    "http_101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    "http_308": b"HTTP/1.1 308 Moved\r\nLocation: \r\nContent-Length: 0\r\n\r\n",
}
BROKEN = {
    "nothing": b"",
    "noise": b"\x16\x03\x01\x00\xff\r\n\r\n",
    "cut": (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\nx"
    ),
    "no gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "long header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "date": (
        b"HTTP/1.1 503 No\r\nRetry-After: Thu, 01 Jan 99999999999999 00:00:09 GMT\r\n"
        b"Content-Length: 0\r\n\r\n"
    ),
}


async def one_answer(reply: bytes, done: Callable[[Pipeline], bool]) -> Pipeline:
    server, port = await raw_server(replying(reply))
    pipeline = http_pipeline(port)
    noted(pipeline)
    fill(pipeline, records(3))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: done(pipeline))
    await finish(pipeline, task, seconds=0.0)
    server.close()
    await server.wait_closed()
    return pipeline


@pytest.mark.parametrize("name", ACCEPTED)
async def test_answers_without_a_body_or_with_hints_before_them_are_taken(name: str) -> None:
    await one_answer(ACCEPTED[name], lambda pipeline: pipeline.exported == 3)


@pytest.mark.parametrize("reason", REFUSED)
async def test_redirects_and_switches_are_refusals(reason: str) -> None:
    pipeline = await one_answer(REFUSED[reason], lambda pipeline: pipeline.failed.total() == 3)
    assert pipeline.failed == {reason: 3}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_answers_are_tried_again_with_a_wait(name: str) -> None:
    pipeline = await one_answer(BROKEN[name], lambda pipeline: pipeline.retries.total() >= 3)
    assert pipeline.failed == {"shutdown": 3}


async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )


async def goes_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP/2 server that says GOAWAY (RFC 9113, 6.8) to every connection."""
    settings, goaway = b"\0\0\0\4\0\0\0\0\0", b"\0\0\x08\7\0\0\0\0\0" + bytes(8)
    await reader.readexactly(24)
    writer.write(settings + goaway)
    await writer.drain()


@pytest.mark.parametrize(
    ("kind", "answer"), [("http", resets), ("grpc", resets), ("grpc", goes_away)]
)
async def test_connections_that_are_broken_again_and_again_meet_the_backoff(
    kind: str, answer: Answer
) -> None:
    connections = 0

    async def counted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answer(reader, writer)

    server, port = await raw_server(counted)
    pipeline = http_pipeline(port) if kind == "http" else grpc_pipeline(port)
    waits = noted(pipeline)
    fill(pipeline, records(3))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: len(waits) >= 6)
    await finish(pipeline, task, seconds=0.0)
    server.close()
    await server.wait_closed()
    assert pipeline.failed == {"shutdown": 3}
    # a transport may try again by itself while it waits, and does not loop: that would be thousands
    assert connections <= 20 * len(waits)
    assert_grows(waits)


async def test_a_fault_of_a_transport_costs_its_batch_and_not_the_pipeline() -> None:
    class Faulty:
        async def send(self, body: bytes) -> Outcome:
            raise ArithmeticError("a fault of ours")

        async def close(self) -> None: ...

    pipeline = Pipeline(
        "logs",
        Faulty(),
        BatchSettings(delay_seconds=0.01, batch_items=10),
        envelope(),
        "otlp_http_exporter",
    )
    fill(pipeline, records(20))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.failed["internal"] == 20)
    await finish(pipeline, task)


async def test_a_delay_of_zero_is_no_loop_that_never_sleeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OTEL_BSP_SCHEDULE_DELAY=0."""
    fake = HttpFake()
    await fake.start()
    pipeline = http_pipeline(fake.port, BatchSettings(delay_seconds=0.0))
    pauses: list[float] = []
    pause = pipeline._pause

    async def counted(seconds: float, *events: asyncio.Event) -> None:
        pauses.append(seconds)
        await pause(seconds, *events)

    monkeypatch.setattr(pipeline, "_pause", counted)
    task = asyncio.create_task(pipeline.run())
    fill(pipeline, records(3))
    await until(lambda: pipeline.exported == 3)
    await finish(pipeline, task)
    await fake.stop()
    assert min(pauses) > 0
