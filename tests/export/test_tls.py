"""Certificates: of both sides, and of somebody else."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import grpc
import pytest
import trustme
from msgspec.structs import replace

from receiver.export.options import OtlpSettings
from receiver.export.otlp_grpc import GrpcTransport
from receiver.export.otlp_http import HttpTransport
from receiver.export.pipeline import Pipeline
from tests.export.fake import GrpcFake, HttpFake, until
from tests.export.pipelines import FAST, envelope, fill, finish, records


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_mutual_tls(transport: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    server, client = authority.issue_cert("localhost"), authority.issue_cert("kwitness")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    base = OtlpSettings(
        "logs",
        "",
        "",
        True,
        timeout_seconds=3.0,
        certificate=str(tmp_path / "ca.pem"),
        client_certificate=str(tmp_path / "client.pem"),
        client_key=str(tmp_path / "client.key"),
    )
    fake: GrpcFake | HttpFake
    if transport == "grpc":
        fake = GrpcFake()
        pair = (server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())
        await fake.start(
            credentials=grpc.ssl_server_credentials(
                [pair], authority.cert_pem.bytes(), require_client_auth=True
            )
        )
        settings = replace(base, protocol="grpc", endpoint=f"localhost:{fake.port}")
        pipeline = Pipeline(
            "logs", GrpcTransport(settings, "k"), FAST, envelope(), "otlp_grpc_exporter"
        )
    else:
        fake = HttpFake()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.configure_cert(context)
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
        await fake.start(ssl_context=context)
        settings = replace(
            base, protocol="http/protobuf", endpoint=f"https://localhost:{fake.port}/v1/logs"
        )
        pipeline = Pipeline(
            "logs", HttpTransport(settings, "k"), FAST, envelope(), "otlp_http_exporter"
        )
    fill(pipeline, records(3))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.exported == 3)
    await finish(pipeline, task)
    await fake.stop()


async def test_a_foreign_certificate_is_never_accepted(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    fake = HttpFake()
    await fake.start(ssl_context=context)
    settings = OtlpSettings(
        "logs",
        "http/protobuf",
        f"https://localhost:{fake.port}/",
        True,
        certificate=str(tmp_path / "ca.pem"),
    )
    pipeline = Pipeline(
        "logs", HttpTransport(settings, "k"), FAST, envelope(), "otlp_http_exporter"
    )
    fill(pipeline, records(1))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.failed["certificate"] == 1)
    await finish(pipeline, task)
    await fake.stop()
    assert fake.requests == 0
