"""Pipelines against a fake collector that misbehaves, over gRPC and over HTTP."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from aiohttp import web
from msgspec.structs import replace

from receiver.export.encode import Envelope, log_record
from receiver.export.options import BatchSettings, OtlpSettings
from receiver.export.otlp_grpc import GrpcTransport
from receiver.export.otlp_http import HttpTransport
from receiver.export.outcome import Backoff
from receiver.export.pipeline import Pipeline
from receiver.export.queue import ImportanceQueue, Item
from receiver.export.settings import from_environment
from receiver.semconv import SCHEMA_URL
from receiver.signals import EMPTY, Importance, LogRecord, ResourceAttributes
from tests.builders import Story
from tests.export.fake import GrpcFake, HttpFake, partial, retry_info, until

FAST = BatchSettings(delay_seconds=0.01, batch_items=10)
CODE = grpc.StatusCode


def records(count: int) -> list[LogRecord]:
    """Real findings, so that the live check can look at what is sent."""
    story = Story()
    while len(story.logs) < count:
        root = story.command("bash")
        story.exit(root, 1)
    return story.logs[:count]


def uid(record: LogRecord) -> str:
    return str(dict(record.attributes)["log.record.uid"])


def envelope() -> Envelope:
    return Envelope("receiver", "0", SCHEMA_URL)


def quick(pipeline: Pipeline) -> Pipeline:
    """With waits of a hundredth of what they are."""
    pipeline.new_backoff = lambda: Backoff(0.01)
    return pipeline


def grpc_pipeline(port: int, batch: BatchSettings = FAST, **other: Any) -> Pipeline:
    where = f"localhost:{port}"
    settings = OtlpSettings("logs", "grpc", where, False, timeout_seconds=2.0, **other)
    return quick(
        Pipeline(
            "logs", GrpcTransport(settings, "kwitness/0"), batch, envelope(), "otlp_grpc_exporter"
        )
    )


def http_pipeline(port: int, batch: BatchSettings = FAST, **other: Any) -> Pipeline:
    where = f"http://localhost:{port}/v1/logs"
    settings = OtlpSettings(
        "logs", "http/protobuf", where, False, **{"timeout_seconds": 2.0} | other
    )
    return quick(
        Pipeline(
            "logs", HttpTransport(settings, "kwitness/0"), batch, envelope(), "otlp_http_exporter"
        )
    )


def fill(pipeline: Pipeline, what: list[LogRecord]) -> list[str]:
    for record in what:
        pipeline.put(record.resource, log_record(record), record.importance)
    return [uid(r) for r in what]


async def finish(pipeline: Pipeline, task: asyncio.Task[None], seconds: float = 5.0) -> None:
    await pipeline.shutdown(seconds)
    await task
    await pipeline.close()
    account = (
        pipeline.exported
        + pipeline.rejected
        + pipeline.failed.total()
        + pipeline.queue.dropped.total()
        + len(pipeline.queue)
    )
    assert account == pipeline.queue.enqueued


async def test_grpc_delivers_everything_once_with_headers_and_gzip() -> None:
    fake = GrpcFake()
    await fake.start()
    pipeline = grpc_pipeline(fake.port, gzip=True, headers=(("x-tenant", "a"),))
    sent = fill(pipeline, records(35))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: len(fake.accepted) == 35)
    await finish(pipeline, task)
    await fake.stop()
    assert sorted(fake.accepted) == sorted(sent)
    assert fake.metadata[0]["x-tenant"] == "a"
    assert fake.metadata[0]["user-agent"].startswith("kwitness/0")
    assert pipeline.exported == 35


async def test_http_delivers_everything_once_with_headers_and_gzip() -> None:
    fake = HttpFake()
    await fake.start()
    pipeline = http_pipeline(fake.port, gzip=True, headers=(("X-Tenant", "a"),))
    sent = fill(pipeline, records(35))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: len(fake.accepted) == 35)
    await finish(pipeline, task)
    await fake.stop()
    assert sorted(fake.accepted) == sorted(sent)
    assert (fake.headers[0]["X-Tenant"], fake.headers[0]["Content-Encoding"]) == ("a", "gzip")
    assert fake.paths[0] == "/v1/logs"


async def test_grpc_retries_what_may_be_retried_and_nothing_is_doubled() -> None:
    fake = GrpcFake()
    fake.script += [
        (CODE.UNAVAILABLE, "busy", retry_info(0.01)),
        (CODE.RESOURCE_EXHAUSTED, "slow", retry_info(0.01)),
    ]
    await fake.start()
    pipeline = grpc_pipeline(fake.port)
    sent = fill(pipeline, records(5))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.exported == 5)
    await finish(pipeline, task)
    await fake.stop()
    assert (sorted(fake.accepted), fake.requests) == (sorted(sent), 3)
    assert pipeline.retries == {"unavailable": 1, "resource_exhausted": 1}


async def test_http_retries_what_may_be_retried_and_nothing_is_doubled() -> None:
    fake = HttpFake()
    fake.script += [(503, {"Retry-After": "0"}, b""), (429, {"Retry-After": "0"}, b"")]
    await fake.start()
    pipeline = http_pipeline(fake.port)
    fill(pipeline, records(5))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.exported == 5)
    await finish(pipeline, task)
    await fake.stop()
    assert (fake.requests, len(fake.accepted)) == (3, 5)


@pytest.mark.parametrize("transport", ["grpc", "http"])
async def test_a_poisoned_batch_is_dropped_counted_and_the_next_goes_on(transport: str) -> None:
    fake: GrpcFake | HttpFake
    if transport == "grpc":
        fake = GrpcFake()
        fake.script.append((CODE.INVALID_ARGUMENT, "no", b""))
    else:
        fake = HttpFake()
        fake.script.append((400, {}, b"no"))
    await fake.start()
    pipeline = grpc_pipeline(fake.port) if transport == "grpc" else http_pipeline(fake.port)
    fill(pipeline, records(20))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.exported == 10)
    await finish(pipeline, task)
    await fake.stop()
    assert pipeline.failed.total() == 10
    assert fake.requests == 2


async def test_partial_success_is_counted_capped_and_not_sent_again() -> None:
    fake = GrpcFake()
    fake.script += [partial(3, "old"), partial(99)]
    await fake.start()
    pipeline = grpc_pipeline(fake.port)
    fill(pipeline, records(20))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.rejected == 13)
    await finish(pipeline, task)
    await fake.stop()
    assert (fake.requests, pipeline.exported, pipeline.rejected) == (2, 7, 13)


async def test_too_large_is_split_until_it_fits() -> None:
    one = len(log_record(records(1)[0]))
    fake = GrpcFake(max_bytes=one * 4)
    await fake.start()
    pipeline = grpc_pipeline(fake.port, BatchSettings(delay_seconds=0.01, batch_items=64))
    sent = fill(pipeline, records(30))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.exported == 30)
    await finish(pipeline, task)
    await fake.stop()
    assert sorted(fake.accepted) == sorted(sent)


async def test_one_record_that_is_too_large_is_counted() -> None:
    fake = HttpFake(max_bytes=10)
    await fake.start()
    pipeline = http_pipeline(fake.port)
    fill(pipeline, records(2))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.failed["too_large"] == 2)
    await finish(pipeline, task)
    await fake.stop()


async def test_a_server_that_comes_late_and_goes_away_loses_nothing() -> None:
    """Not there at start, then killed and back on the same port."""
    fake = GrpcFake()
    await fake.start()
    port = fake.port
    await fake.stop()
    pipeline = grpc_pipeline(port)
    what = records(40)
    sent = fill(pipeline, what[:20])
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.retries.total() >= 1)
    await fake.start(port)
    await until(lambda: pipeline.exported == 20, 30)
    await fake.stop()
    sent += fill(pipeline, what[20:])
    await until(lambda: pipeline.retries.total() >= 2)
    await fake.start(port)
    await until(lambda: pipeline.exported == 40, 30)
    await finish(pipeline, task)
    await fake.stop()
    assert sorted(fake.accepted) == sorted(sent)


async def test_a_server_that_never_answers_does_not_hold_the_shutdown() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(swallow, "localhost", 0)
    settings = OtlpSettings(
        "logs",
        "http/protobuf",
        f"http://localhost:{server.sockets[0].getsockname()[1]}/",
        False,
        timeout_seconds=0.2,
    )
    pipeline = Pipeline(
        "logs", HttpTransport(settings, "k"), FAST, envelope(), "otlp_http_exporter"
    )
    fill(pipeline, records(3))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.retries["timeout"] >= 1)
    await finish(pipeline, task, seconds=0.3)
    server.close()
    await server.wait_closed()
    assert pipeline.failed["shutdown"] == 3


async def test_an_endless_answer_is_cut() -> None:
    fake = HttpFake()
    fake.script.append(
        lambda: web.Response(body=b"x" * (5 << 20), content_type="application/x-protobuf")
    )
    await fake.start()
    pipeline = http_pipeline(fake.port)
    fill(pipeline, records(1))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.failed["bad_response"] == 1)
    await finish(pipeline, task)
    await fake.stop()


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


def test_a_full_queue_drops_the_least_important_first_and_counts() -> None:
    queue = ImportanceQueue(3, 1000)
    for importance in (
        Importance.ROUTINE,
        Importance.FINDING,
        Importance.ROUTINE,
        Importance.FINDING,
        Importance.NORMAL,
    ):
        queue.put(Item(EMPTY, importance.name.encode(), importance))
    assert queue.dropped == {"routine": 2}
    assert [i[2] for i in queue.take(10, 1000)] == [
        Importance.FINDING,
        Importance.FINDING,
        Importance.NORMAL,
    ]
    assert queue.bytes == 0


def test_the_queue_bounds_bytes_too() -> None:
    queue = ImportanceQueue(100, 10)
    attributes = ResourceAttributes(())
    for _ in range(3):
        queue.put(Item(attributes, b"x" * 4, Importance.FINDING))
    queue.put(Item(attributes, b"y" * 4, Importance.ROUTINE))
    queue.put(Item(attributes, b"z" * 11, Importance.FINDING))
    assert (len(queue), queue.bytes) == (2, 8)  # what can never fit pushes nothing else out
    assert queue.dropped == {"finding": 2, "routine": 1}
    assert queue.enqueued == 5


async def test_delta_temporality_sends_differences() -> None:
    import io
    import json

    from receiver.export.hub import Hub
    from receiver.signals import Metric, MetricSnapshot, Point

    out = io.BytesIO()
    settings = from_environment(
        {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta", "OTEL_LOGS_EXPORTER": "none"}
    )
    hub = Hub(settings, "0", out, remote=False)
    hub.start()
    resource = ResourceAttributes((("service.name", "x"), ("host.name", "h")))
    labels = tuple(
        (k, "x") for k in ("pipeline.system.name", "pipeline.name", "pipeline.task.name")
    )
    labels = (("pipeline.system.name", "command"), *labels[1:])
    for total in (3, 10):
        metric = Metric(
            "pipeline.task.oom_kills", "counter", "{kill}", "d.", (Point(labels, total),)
        )
        hub.put_metrics(MetricSnapshot(resource, 1, total, (metric,)))
    await hub.shutdown(2)
    points = [
        (m["sum"]["aggregationTemporality"], int(m["sum"]["dataPoints"][0]["asInt"]))
        for line in out.getvalue().splitlines()
        for m in json.loads(line)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    ]
    assert points == [(1, 3), (1, 7)]
