"""Pipelines against a fake collector that misbehaves, over gRPC and over HTTP."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from receiver.export.settings import from_environment
from receiver.signals import ResourceAttributes
from tests.export.fake import GrpcFake, HttpFake, partial, retry_info, until
from tests.export.pipelines import fill, finish, grpc_pipeline, http_pipeline, records

CODE = grpc.StatusCode


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
