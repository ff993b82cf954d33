"""OTLP in: what an agent sends comes out as it was meant; what is no OTLP is refused
in one line."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import aiohttp
import grpc
import pytest
import trustme
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from receiver.errors import ConfigError
from receiver.insights.config import InsightsConfig
from receiver.insights.inbound import Inbound
from receiver.insights.records import read
from receiver.insights.runs import RemoteFact
from tests.insights.senders import ANY, LOGS, call, check, request, serving


def test_a_record_comes_out_as_it_went_in() -> None:
    (record,) = read(request()).facts
    check(record)


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
