"""OTLP in: what an agent sends comes out as it was meant; what is no OTLP is refused
in one line."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import trustme
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from receiver import semconv as sc
from receiver.errors import ConfigError
from receiver.export import encode
from receiver.export.encode import Envelope
from receiver.insights.config import InsightsConfig
from receiver.insights.grpc_server import GRPC_TURNS
from receiver.insights.inbound import Inbound
from receiver.insights.records import read
from receiver.insights.runs import RemoteFact
from receiver.signals import EMPTY, LogRecord, ResourceAttributes, Severity
from tests.abuse.http2 import Holder

LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
RESOURCE = ResourceAttributes(
    ((sc.HOST_NAME, "a"), (sc.HOST_IP, ("10.0.0.1", "fd00::1")), (sc.SERVICE_NAME, "x"))
)


def request() -> bytes:
    """As our own exporter writes it."""
    record = LogRecord(
        RESOURCE,
        5,
        6,
        Severity.ERROR,
        "process.killed",
        "It was killed.",
        b"\xab" * 16,
        b"\xcd" * 8,
        (EMPTY,),
        (
            (sc.EVENT_NAME, "process.killed"),
            (sc.LOG_RECORD_UID, "u1"),
            (sc.PROCESS_PID, 7),
            ("ratio", 0.5),
            ("yes", True),
        ),
    )
    return Envelope("receiver", "0", sc.SCHEMA_URL).request([(RESOURCE, encode.log_record(record))])


def check(record: RemoteFact) -> None:
    assert (record.host, record.addresses, record.uid, record.kind) == (
        "a",
        ("10.0.0.1", "fd00::1"),
        "u1",
        "process.killed",
    )
    assert (record.at_ns, record.severity, record.text, record.trace_id, record.span_id) == (
        5,
        17,
        "It was killed.",
        "ab" * 16,
        "cd" * 8,
    )
    assert record.number(sc.PROCESS_PID) == 7
    assert "ratio" not in record.values  # what nobody asks for is not kept


def test_a_record_comes_out_as_it_went_in() -> None:
    (record,) = read(request()).facts
    check(record)


def serving(
    config: InsightsConfig, do: Callable[[Inbound, list[RemoteFact]], Coroutine[Any, Any, None]]
) -> None:
    async def main() -> None:
        got: list[RemoteFact] = []
        inbound = Inbound(config, lambda batch: got.extend(batch.facts))
        await inbound.start()
        try:
            await do(inbound, got)
        finally:
            await inbound.close()

    asyncio.run(main())


def call(channel: grpc.aio.Channel, method: str) -> Any:
    return channel.unary_unary(method)


ANY = InsightsConfig(grpc="127.0.0.1:0", http="127.0.0.1:0")


def test_by_grpc_also_compressed() -> None:
    async def do(inbound: Inbound, got: list[RemoteFact]) -> None:
        for compression in (None, grpc.Compression.Gzip):
            async with grpc.aio.insecure_channel(
                f"127.0.0.1:{inbound.ports['grpc']}", compression=compression
            ) as channel:
                assert await call(channel, LOGS)(request()) == b""
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call(channel, LOGS)(b"\xff\xff\xff")
                assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
                for other in (
                    "trace.v1.TraceService",
                    "metrics.v1.MetricsService",
                ):  # taken, and passed over
                    assert (
                        await call(channel, f"/opentelemetry.proto.collector.{other}/Export")(b"")
                        == b""
                    )
        assert len(got) == 2
        check(got[0])
        assert inbound.counts["logs", "refused"] == 2 and inbound.counts["traces", "taken"] == 2

    serving(ANY, do)


def test_by_http_also_compressed() -> None:
    async def do(inbound: Inbound, got: list[RemoteFact]) -> None:
        kind = {"Content-Type": "application/x-protobuf"}
        base = f"http://127.0.0.1:{inbound.ports['http']}/v1"
        async with aiohttp.ClientSession() as session:

            async def post(signal: str, body: bytes, **headers: str) -> int:
                async with session.post(
                    f"{base}/{signal}",
                    data=body,
                    headers=kind | {k.replace("_", "-"): v for k, v in headers.items()},
                ) as answer:
                    await answer.read()
                    return answer.status

            assert await post("logs", request()) == 200
            assert await post("logs", gzip.compress(request()), Content_Encoding="gzip") == 200
            assert await post("metrics", b"") == 200
            assert await post("logs", b"\xff\xff\xff") == 400
            assert await post("logs", b"{}", Content_Type="application/json") == 415
            assert (
                await post("logs", gzip.compress(b"\0" * (20 << 20)), Content_Encoding="gzip")
                == 413
            )  # small on the wire only
            assert await post("profiles", b"") == 404
        assert len(got) == 2
        check(got[1])

    serving(ANY, do)


def test_bodies_that_are_not_what_they_say_are_refused_and_counted() -> None:
    plain, raw = request(), zlib.compressobj(wbits=-15)
    headerless = raw.compress(plain) + raw.flush()
    cases = [
        (zlib.compress(plain), "deflate", 200),
        (headerless, "deflate", 200),
        (gzip.compress(plain) * 2, "gzip", 200),
        (plain, "identity", 200),
        (plain, "deflate", 400),
        (plain, "gzip", 400),
        (gzip.compress(plain)[:-9], "gzip", 400),
        (gzip.compress(b"") * 100, "gzip", 400),
        (gzip.compress(plain), "deflate", 400),
        (plain, "zstd", 400),
        (gzip.compress(gzip.compress(bytes(64 << 20))), "gzip", 400),
        (gzip.compress(bytes(17 << 20)), "gzip", 413),
        (zlib.compress(bytes(17 << 20)), "deflate", 413),
    ]

    async def do(inbound: Inbound, got: list[RemoteFact]) -> None:
        async with aiohttp.ClientSession() as session:
            for body, encoding, status in cases:
                headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": encoding}
                async with session.post(
                    f"http://127.0.0.1:{inbound.ports['http']}/v1/logs", data=body, headers=headers
                ) as answer:
                    assert answer.status == status, (encoding, body[:20])
        assert (
            inbound.counts["logs", "refused"] == 9
            and len(inbound.uploads) == inbound.uploads.held == 0
        )
        assert set(inbound.refused) == {
            "request_encoding",
            "request_malformed",
            "request_too_large",
        }

    serving(ANY, do)


def test_bad_records_are_a_partial_success() -> None:
    from tests.insights.requests import record
    from tests.insights.requests import request as of

    body = of(
        record(process__pid=float("nan")), record(process__pid="x"), record()
    ).SerializeToString()

    async def do(inbound: Inbound, got: list[RemoteFact]) -> None:
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{inbound.ports['grpc']}") as channel,
            aiohttp.ClientSession() as session,
        ):
            url, headers = (
                f"http://127.0.0.1:{inbound.ports['http']}/v1/logs",
                {"Content-Type": "application/x-protobuf"},
            )
            async with session.post(url, data=body, headers=headers) as posted:
                answers = [await call(channel, LOGS)(body), await posted.read()]
        for raw in answers:
            answer = ExportLogsServiceResponse.FromString(raw).partial_success
            assert (answer.rejected_log_records, answer.error_message) == (
                2,
                "1 not_finite, 1 wrong_type",
            )
        assert len(got) == 2

    serving(ANY, do)


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


def test_with_mutual_tls(tmp_path: Path) -> None:
    ca = trustme.CA()
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert("agent")
    names = {name: tmp_path / name for name in ("cert", "key", "ca")}
    server.cert_chain_pems[0].write_to_path(names["cert"])
    server.private_key_pem.write_to_path(names["key"])
    ca.cert_pem.write_to_path(names["ca"])
    config = InsightsConfig(
        grpc="127.0.0.1:0",
        http="",
        certificate=str(names["cert"]),
        key=str(names["key"]),
        client_ca=str(names["ca"]),
    )

    async def do(inbound: Inbound, got: list[RemoteFact]) -> None:
        pair = (client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes())
        for with_pair in (True, False):
            credentials = grpc.ssl_channel_credentials(
                ca.cert_pem.bytes(), *(pair if with_pair else ())
            )
            async with grpc.aio.secure_channel(
                f"127.0.0.1:{inbound.ports['grpc']}", credentials
            ) as channel:
                if with_pair:
                    await call(channel, LOGS)(request())
                else:
                    with pytest.raises(grpc.aio.AioRpcError):
                        await call(channel, LOGS)(request(), timeout=5)
        assert len(got) == 1

    serving(config, do)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (InsightsConfig(grpc="", http=""), "nothing could come in"),
        (InsightsConfig(certificate="x"), "belong together"),
        (InsightsConfig(grpc="", http="127.0.0.1:no"), "insights.http"),
    ],
)
def test_a_bad_configuration_is_one_line(config: InsightsConfig, says: str) -> None:
    async def do(inbound: Inbound, got: list[RemoteFact]) -> None: ...

    with pytest.raises(ConfigError, match=says):
        serving(config, do)
