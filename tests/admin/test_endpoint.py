"""The health endpoint, its token, and bad requests."""

from __future__ import annotations

import aiohttp
import pytest

from receiver import semconv as sc
from receiver.service.admin import Admin, prometheus_text
from receiver.signals import Histogram, Metric, Point
from tests.admin.clerk import Clerk

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
        for headers in (
            {"Host": "evil.example"},
            {"Origin": "http://evil.example"},
            {"Host": "127.0.0.1.evil.example:80"},
        ):
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
    histogram = Metric(
        *sc.METRIC_PIPELINE_TASK_DURATION,
        (Point((), Histogram(3, 4.5, 0.5, 3.0, (1.0, 2.0), (1, 1, 1))),),
    )
    lines = prometheus_text([COUNTER, histogram]).splitlines()
    assert 'pipeline_task_oom_kills_total{pipeline_name="a\\"b\\n"} 3' in lines
    assert [line for line in lines if "bucket" in line] == [
        'pipeline_task_duration_seconds_bucket{le="1.0"} 1',
        'pipeline_task_duration_seconds_bucket{le="2.0"} 2',
        'pipeline_task_duration_seconds_bucket{le="+Inf"} 3',
    ]


async def test_what_is_about_incidents_needs_the_token() -> None:
    admin = Admin(
        "127.0.0.1", 0, lambda: "ready", lambda: (COUNTER,), incidents=Clerk(), token="secret"
    )
    await admin.start()
    base = f"http://127.0.0.1:{admin.addresses[0][1]}"
    right = {"Authorization": "Bearer secret"}
    async with aiohttp.ClientSession() as session:
        for path in ("/metrics", "/tree", "/incidents", "/incidents/known"):
            for headers in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "secret2"}):
                async with session.get(base + path, headers=headers) as response:
                    assert response.status == 401, path
            async with session.get(base + path, headers=right) as response:
                assert response.status == 200, path
        async with session.get(base + "/readyz") as response:
            assert response.status == 200
        for form, kind in (
            ("json", "application/json"),
            ("text", "text/plain"),
            ("page", "text/html"),
        ):
            async with session.get(
                base + f"/incidents/known?form={form}", headers=right
            ) as response:
                assert response.content_type == kind
                assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        for path, status in (
            ("/incidents/other", 404),
            ("/incidents/known?form=x", 400),
            ("/incidents/..%2f..%2fetc", 404),
        ):
            async with session.get(base + path, headers=right) as response:
                assert response.status == status, path
    await admin.close()


async def test_without_a_token_there_is_nothing_about_incidents() -> None:
    admin = Admin("127.0.0.1", 0, lambda: "ready", tuple, incidents=Clerk())
    await admin.start()
    base = f"http://127.0.0.1:{admin.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        async with session.get(base + "/incidents") as response:
            assert response.status == 403 and "token" in await response.text()
        async with session.get(base + "/metrics") as response:
            assert response.status == 200
    await admin.close()


async def test_bad_bodies_are_refused_in_one_line() -> None:
    admin = Admin("127.0.0.1", 0, lambda: "ready", tuple, incidents=Clerk(), token="secret")
    await admin.start()
    url = f"http://127.0.0.1:{admin.addresses[0][1]}/alerts"
    headers = {"Authorization": "Bearer secret", "Content-Type": "application/json"}
    bad = (
        b"",
        b"{",
        b"[1]",
        b'{"alerts": 3}',
        b"\xff\xfe",
        b'{"pipeline": 7}',
        b'{"other": "x"}',
        b"[" * 20_000,
        b'{"alerts": []}',
        b"{}",
        b'{"pipeline": "x", "from": "2026-01-01T00:00:00"}',
        b'{"pipeline": "x", "to": "2026-01-01"}',
        b'{"pipeline": "x", "from": NaN}',
        b'{"pipeline": "x", "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}',
    )
    async with aiohttp.ClientSession() as session:
        for body in bad:
            async with session.post(url, data=body, headers=headers) as response:
                text = await response.text()
                assert (response.status, text.count("\n")) == (400, 1), body[:40]
        async with session.post(
            url, data=b"x", headers=headers | {"Content-Type": "text/plain"}
        ) as response:
            assert response.status == 415
        async with session.post(url, data=b"x" * (300 << 10), headers=headers) as response:
            assert response.status == 413
        statuses = []
        for _ in range(30):
            async with session.post(url, data=b'{"task": "x"}', headers=headers) as response:
                statuses.append(response.status)
        assert statuses[0] == 200 and statuses[-1] == 429
    await admin.close()
