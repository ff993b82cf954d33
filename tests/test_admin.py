"""The health endpoint."""

from __future__ import annotations

import aiohttp
import pytest

from receiver import semconv as sc
from receiver.admin import Admin, prometheus_text
from receiver.signals import Histogram, Metric, Point

COUNTER = Metric(*sc.METRIC_PIPELINE_TASK_OOM_KILLS, (Point((("pipeline.name", 'a"b\n'),), 3),))


async def test_it_tells_the_truth_and_only_to_loopback() -> None:
    state = "ready"
    admin = Admin("127.0.0.1", 0, lambda: state, lambda: (COUNTER,))
    await admin.start()
    base = f"http://127.0.0.1:{admin.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        for path, status, text in (("/livez", 200, "live\n"), ("/readyz", 200, "ready\n")):
            async with session.get(base + path) as response:
                assert (response.status, await response.text()) == (status, text)
        state = "blind"
        async with session.get(base + "/readyz") as response:
            assert (response.status, await response.text()) == (503, "blind\n")
        async with session.get(base + "/metrics") as response:
            assert "pipeline_task_oom_kills_total" in await response.text()
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Host": "127.0.0.1.evil.example:80"}):
            async with session.get(base + "/metrics", headers=headers) as response:
                assert response.status == 403
        async with session.post(base + "/metrics", data=b"x") as response:
            assert response.status in (403, 405)
        async with session.get(base + "/etc/passwd") as response:
            assert response.status == 404
    await admin.close()


async def test_a_taken_port_does_not_stop_the_service(caplog: pytest.LogCaptureFixture) -> None:
    first = Admin("127.0.0.1", 0, lambda: "ready", tuple)
    await first.start()
    second = Admin("127.0.0.1", first.addresses[0][1], lambda: "ready", tuple)
    await second.start()
    assert "cannot listen" in caplog.text
    await second.close()
    await first.close()


def test_the_text_format() -> None:
    histogram = Metric(*sc.METRIC_PIPELINE_TASK_DURATION, (Point((), Histogram(3, 4.5, 0.5, 3.0, (1.0, 2.0), (1, 1, 1))),))
    lines = prometheus_text([COUNTER, histogram]).splitlines()
    assert 'pipeline_task_oom_kills_total{pipeline_name="a\\"b\\n"} 3' in lines
    assert [line for line in lines if "bucket" in line] == [
        'pipeline_task_duration_seconds_bucket{le="1.0"} 1',
        'pipeline_task_duration_seconds_bucket{le="2.0"} 2',
        'pipeline_task_duration_seconds_bucket{le="+Inf"} 3',
    ]
