"""OTLP in: what an agent sends comes out as it was meant; what is no OTLP is refused in one line."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
import trustme

from receiver import semconv as sc
from receiver.errors import ConfigError
from receiver.export import encode
from receiver.export.encode import Envelope
from receiver.insights.config import InsightsConfig
from receiver.insights.inbound import Inbound, told
from receiver.insights.runs import Told
from receiver.signals import EMPTY, Block, LogRecord, Severity

LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
RESOURCE = Block(((sc.HOST_NAME, "a"), (sc.HOST_IP, ("10.0.0.1", "fd00::1")), (sc.SERVICE_NAME, "x")))


def request() -> bytes:
    """As our own exporter writes it."""
    record = LogRecord(
        RESOURCE, 5, 6, Severity.ERROR, "process.killed", "It was killed.", b"\xab" * 16, b"\xcd" * 8, (EMPTY,),
        ((sc.EVENT_NAME, "process.killed"), (sc.LOG_RECORD_UID, "u1"), (sc.PROCESS_PID, 7), ("ratio", 0.5), ("yes", True)),
    )  # fmt: skip
    return Envelope("receiver", "0", sc.SCHEMA_URL).request([(RESOURCE, encode.log_record(record))])


def check(record: Told) -> None:
    assert (record.host, record.addresses, record.uid, record.kind) == ("a", ("10.0.0.1", "fd00::1"), "u1", "process.killed")
    assert (record.at_ns, record.severity, record.text, record.trace_id, record.span_id) == (
        5,
        17,
        "It was killed.",
        "ab" * 16,
        "cd" * 8,
    )
    assert record.number(sc.PROCESS_PID) == 7 and record.values["ratio"] == 0.5 and record.values["yes"] is True


def test_a_record_comes_out_as_it_went_in() -> None:
    (record,) = told(request())
    check(record)


def serving(config: InsightsConfig, do: Callable[[Inbound, list[Told]], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        got: list[Told] = []
        inbound = Inbound(config, got.append)
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
    async def do(inbound: Inbound, got: list[Told]) -> None:
        for compression in (None, grpc.Compression.Gzip):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{inbound.ports['grpc']}", compression=compression) as channel:
                assert await call(channel, LOGS)(request()) == b""
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call(channel, LOGS)(b"\xff\xff\xff")
                assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
                for other in ("trace.v1.TraceService", "metrics.v1.MetricsService"):  # taken, and passed over
                    assert await call(channel, f"/opentelemetry.proto.collector.{other}/Export")(b"") == b""
        assert len(got) == 2
        check(got[0])
        assert inbound.counts["logs", "refused"] == 2 and inbound.counts["traces", "taken"] == 2

    serving(ANY, do)


def test_by_http_also_compressed() -> None:
    async def do(inbound: Inbound, got: list[Told]) -> None:
        kind = {"Content-Type": "application/x-protobuf"}
        base = f"http://127.0.0.1:{inbound.ports['http']}/v1"
        async with aiohttp.ClientSession() as session:

            async def post(signal: str, body: bytes, **headers: str) -> int:
                async with session.post(
                    f"{base}/{signal}", data=body, headers=kind | {k.replace("_", "-"): v for k, v in headers.items()}
                ) as answer:
                    await answer.read()
                    return answer.status

            assert await post("logs", request()) == 200
            assert await post("logs", gzip.compress(request()), Content_Encoding="gzip") == 200
            assert await post("metrics", b"") == 200
            assert await post("logs", b"\xff\xff\xff") == 400
            assert await post("logs", b"{}", Content_Type="application/json") == 415
            assert await post("logs", gzip.compress(b"\0" * (20 << 20)), Content_Encoding="gzip") == 413  # small on the wire only
            assert await post("profiles", b"") == 404
        assert len(got) == 2
        check(got[1])

    serving(ANY, do)


def test_with_mutual_tls(tmp_path: Path) -> None:
    ca = trustme.CA()
    server, client = ca.issue_cert("127.0.0.1"), ca.issue_cert("agent")
    names = {name: tmp_path / name for name in ("cert", "key", "ca")}
    server.cert_chain_pems[0].write_to_path(names["cert"])
    server.private_key_pem.write_to_path(names["key"])
    ca.cert_pem.write_to_path(names["ca"])
    config = InsightsConfig(
        grpc="127.0.0.1:0", http="", certificate=str(names["cert"]), key=str(names["key"]), client_ca=str(names["ca"])
    )

    async def do(inbound: Inbound, got: list[Told]) -> None:
        pair = (client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes())
        for with_pair in (True, False):
            credentials = grpc.ssl_channel_credentials(ca.cert_pem.bytes(), *(pair if with_pair else ()))
            async with grpc.aio.secure_channel(f"127.0.0.1:{inbound.ports['grpc']}", credentials) as channel:
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
    async def do(inbound: Inbound, got: list[Told]) -> None: ...

    with pytest.raises(ConfigError, match=says):
        serving(config, do)
