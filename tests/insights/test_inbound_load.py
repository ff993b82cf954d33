"""Senders that send too much at once, too slowly, or never to the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from receiver.insights.grpc_server import GRPC_TURNS
from receiver.insights.inbound import Inbound
from receiver.insights.runs import RemoteFact
from tests.abuse.http2 import Holder
from tests.insights.senders import ANY, LOGS, call, request, serving


def test_when_too_much_is_being_received_others_are_asked_to_come_again() -> None:
    async def do(inbound: Inbound, got: list[RemoteFact]) -> None:
        inbound.uploads.limit = 1 << 20
        head = (
            b"POST /v1/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\n"
            b"Content-Length: 4000000\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", inbound.ports["http"])
        writer.write(head + bytes((1 << 20) - 100))
        while inbound.uploads.held < (1 << 20) - 100:
            await asyncio.sleep(0.01)
        url, headers = (
            f"http://127.0.0.1:{inbound.ports['http']}/v1/logs",
            {"Content-Type": "application/x-protobuf"},
        )
        async with (
            aiohttp.ClientSession() as session,
            grpc.aio.insecure_channel(f"127.0.0.1:{inbound.ports['grpc']}") as channel,
        ):
            async with session.post(url, data=request(), headers=headers) as answer:
                assert answer.status == 429 and answer.headers["Retry-After"] == "1"
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(channel, LOGS)(request())
            assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            details = dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
            status, info = Status.FromString(details), RetryInfo()
            assert (
                status.code == 8
                and status.details[0].Unpack(info)
                and info.retry_delay.seconds == 1
            )
            while True:  # the one that holds it has had its time: it is ended, and others are heard
                async with session.post(url, data=request(), headers=headers) as answer:
                    if answer.status == 200:
                        break
                await asyncio.sleep(0.1)
        assert inbound.uploads.evicted == 1 and inbound.refused["uploads_full"] >= 2
        assert await reader.read() == b""
        writer.close()

    serving(ANY, do)


def test_a_message_that_never_comes_by_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.insights.grpc_server.RECEIVE_SECONDS", 0.3)

    async def do(inbound: Inbound, got: list[RemoteFact]) -> None:
        async def never() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        async with grpc.aio.insecure_channel(f"127.0.0.1:{inbound.ports['grpc']}") as channel:
            late_call: Any = channel.stream_unary(LOGS)
            with pytest.raises(grpc.aio.AioRpcError) as late:
                await late_call(never())
            assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            with pytest.raises(grpc.aio.AioRpcError) as large:
                await call(channel, LOGS)(bytes(5 << 20), compression=grpc.Compression.Gzip)
            assert large.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert await call(channel, LOGS)(request()) == b""
        assert (
            inbound.refused["upload_late"] == 1
            and len(inbound.uploads) == inbound.uploads.held == 0
        )

    serving(ANY, do)


def test_a_connection_with_many_calls_at_once_is_served() -> None:
    """As a Collector with its consumers, without a refusal.
    Calls that hold all turns of a connection leave others alone."""

    async def do(inbound: Inbound, got: list[RemoteFact]) -> None:
        async def never() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        address, own = (
            f"127.0.0.1:{inbound.ports['grpc']}",
            (("grpc.use_local_subchannel_pool", 1),),
        )
        async with grpc.aio.insecure_channel(address, options=own) as channel:
            for _ in range(20):
                await asyncio.gather(*(call(channel, LOGS)(request()) for _ in range(30)))
            assert len(got) == 600 and not inbound.refused
            stuck: Any = channel.stream_unary(LOGS)
            calls = [stuck(never()) for _ in range(GRPC_TURNS + 5)]
            while len(inbound.uploads) < GRPC_TURNS:
                await asyncio.sleep(0.01)
            async with grpc.aio.insecure_channel(address, options=own) as other:
                await call(other, LOGS)(request())
            assert len(inbound.uploads) == GRPC_TURNS
            for each in calls:
                each.cancel()

    serving(ANY, do)


def test_places_of_held_grpc_connections_become_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of four connections, all that there may be, begins a call that never ends.
    HTTP has its own places."""
    for name, value in (("CONNECTIONS", 4), ("AGE_SECONDS", 2.0)):
        monkeypatch.setattr(f"receiver.insights.grpc_server.GRPC_{name}", value)
    monkeypatch.setattr("receiver.insights.grpc_server.RECEIVE_SECONDS", 0.5)

    async def do(inbound: Inbound, got: list[RemoteFact]) -> None:
        owner_processes = [Holder(inbound.ports["grpc"], 1, 1 << 20) for _ in range(4)]
        try:
            await asyncio.gather(*(asyncio.to_thread(h.hold, 0.1) for h in owner_processes))
            url = f"http://127.0.0.1:{inbound.ports['http']}/v1/logs"
            headers = {"Content-Type": "application/x-protobuf"}
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=request(), headers=headers) as response,
            ):
                assert response.status == 200
            own = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200))
            address = f"127.0.0.1:{inbound.ports['grpc']}"
            async with grpc.aio.insecure_channel(address, options=own) as channel:
                assert await call(channel, LOGS)(request(), wait_for_ready=True, timeout=60) == b""
            assert len(got) == 2
        finally:
            for holder in owner_processes:
                holder.socket.close()

    serving(ANY, do)
