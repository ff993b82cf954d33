"""Webhooks of alerts, the runs that they ask for, and the answers."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta, timezone

import aiohttp
import pytest

from receiver.errors import DataError
from receiver.investigate.history import History
from receiver.observe.session import Session
from receiver.service.admin import Admin
from receiver.service.alerts import queries
from receiver.service.incident_api import LiveIncidentApi
from tests.admin.clerk import Clerk
from tests.builders import Story


def test_webhooks_of_alertmanager_and_grafana_and_the_simple_form() -> None:
    labels = (
        b'{"labels": {"alertname": "TaskFailed", "dag_id": "etl", "task_id": "load"}, '
        b'"startsAt": "2024-01-15T10:00:00Z", "endsAt": "0001-01-01T00:00:00Z"}'
    )
    for body in (
        b'{"version": "4", "status": "firing", "receiver": "x", "alerts": [' + labels + b"]}",
        b'{"receiver": "g", "orgId": 1, "state": "alerting", "title": "t", "alerts": ['
        + labels
        + b"]}",
    ):
        (query,) = queries(body)
        assert (query.pipeline, query.task, query.until) == ("etl", "load", None)
        assert query.since is not None and query.since.year == 2024
    (query,) = queries(b'{"pipeline": "etl", "run_id": "r1", "from": "2024-01-15T10:00:00Z"}')
    assert query.wants("etl", "any", "r1") and not query.wants("etl", "any", "r2")
    with pytest.raises(DataError, match="at most"):
        queries(b'{"alerts": [' + b",".join([labels] * 101) + b"]}")


def test_the_desk_answers_about_what_runs_what_failed_and_what_was_well() -> None:
    story = Story()
    story.core.history = History()
    failed = story.task("load", run="r1")
    story.exit(failed, 1)
    well = story.task("extract", run="r1")
    story.exit(well)
    story.tick(7)
    story.tick(1)
    story.task("publish", run="r1")
    desk = LiveIncidentApi(Session(story.core), lambda: story.now)
    answers = json.loads(desk.alert(b'{"pipeline": "etl", "run_id": "r1"}'))["alerts"][0]
    assert {r["task"]: r["verdict"] for r in answers["reports"]} == {
        "load": "not_visible",
        "publish": "healthy",
    }
    assert {(s["task"], s["failed"]) for s in answers["seen"]} == {
        ("load", True),
        ("extract", False),
    }
    (row,) = json.loads(desk.listing())["incidents"]
    text, shown = desk.report(row["id"], "text"), desk.report(row["id"], "page")
    assert text is not None and "NOT VISIBLE FROM HERE" in text
    assert (
        shown is not None
        and "<script" not in shown
        and "http:" not in shown
        and "https:" not in shown
    )
    assert desk.report("none", "json") is None


@pytest.mark.parametrize("name", ["startsAt", "endsAt"])
@pytest.mark.parametrize(
    "value",
    [
        "2026-01-01T00:00:00",
        "yesterday\nand more",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00+25:00",
        "2026-01-01",
        "9" * 5000,
        1767225600,
        None,
        [],
    ],
)
def test_a_time_that_cannot_be_read_is_refused_in_one_line(name: str, value: object) -> None:
    alert = {"labels": {"task": "x"}, name: value}
    with pytest.raises(DataError, match=name) as refused:
        queries(json.dumps({"alerts": [alert]}).encode())
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 250


def test_the_start_of_an_alert_selects_the_runs_of_that_time() -> None:
    """An alert fires after what it is about. Its zone counts, and work of another time
    is not meant."""
    story = Story()
    story.core.history = History()
    failed = story.task("load", run="r1")
    story.exit(failed, 1)
    story.tick(70)
    story.tick(1)
    story.task("load", run="r2")
    desk = LiveIncidentApi(Session(story.core), lambda: story.now)
    ended = datetime.fromtimestamp(story.core.resources.wall(story.now) / 1e9 - 71, UTC)

    def found(starts: datetime, ends: str = "0001-01-01T00:00:00Z") -> tuple[set[str], set[str]]:
        alert = {"labels": {"task": "load"}, "startsAt": starts.isoformat(), "endsAt": ends}
        (answer,) = json.loads(desk.alert(json.dumps({"alerts": [alert]}).encode()))["alerts"]
        return {r["run_id"] for r in answer["reports"]}, {s["run_id"] for s in answer["seen"]}

    both = {"r1", "r2"}
    assert found(ended) == found(ended + timedelta(minutes=59)) == (both, {"r1"})
    assert found(ended + timedelta(hours=2)) == ({"r2"}, set())
    east = timezone(timedelta(hours=5, minutes=30))
    assert found((ended + timedelta(minutes=59)).astimezone(east)) == (both, {"r1"})
    same_digits = (ended + timedelta(hours=2)).replace(tzinfo=timezone(timedelta(hours=3)))
    assert found(same_digits) == (both, {"r1"})
    over = ended + timedelta(seconds=1)
    assert found(ended, over.isoformat()) == ({"r1"}, {"r1"})  # r2 began later


def test_times_at_the_ends_of_the_calendar_are_answered() -> None:
    story = Story()
    failed = story.task("load", run="r1")
    story.exit(failed, 1)
    story.tick(7)
    desk = LiveIncidentApi(Session(story.core), lambda: story.now)
    for moment in (
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2024-01-15T10:00:00Z",
    ):
        for name in ("from", "to"):
            assert json.loads(desk.alert(json.dumps({"task": "load", name: moment}).encode()))[
                "alerts"
            ]
            alert = {"labels": {"task": "load"}, "startsAt" if name == "from" else "endsAt": moment}
            assert json.loads(desk.alert(json.dumps({"alerts": [alert]}).encode()))["alerts"]


async def test_callers_cannot_fill_the_log_and_a_flood_does_not_stop_a_probe(
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin = Admin("127.0.0.1", 0, lambda: "ready", tuple, incidents=Clerk(), token="secret")
    await admin.start()
    host, port = admin.addresses[0]
    idle = [await asyncio.open_connection(host, port) for _ in range(100)]
    caplog.clear()
    async with aiohttp.ClientSession() as session:
        for number in range(100):
            async with session.post(f"http://{host}:{port}/alerts", data=b"{}") as response:
                assert response.status == 401
            async with session.get(f"http://{host}:{port}/readyz") as response:
                assert response.status == 200, number
    assert len([r for r in caplog.records if r.name.startswith("kwitness")]) <= 3
    assert {
        dict(p.attributes)["pipeline.observer.loss.reason"]
        for m in admin.metrics()
        for p in m.points
    } == {"evicted"}
    for _, writer in idle:
        writer.close()
    await admin.close()


def test_hostile_names_are_text_on_the_page_and_on_the_terminal() -> None:
    story = Story()
    root = story.command("bash", "job.sh", name="<script>alert(1)</script>\x1b]0;x\x07")
    step = story.spawn(root, "py<img src=x onerror=y>\x1b[2J")
    story.oom(step)
    story.exit(step, signal=9)
    story.exit(root, 137)
    story.finish()
    desk = LiveIncidentApi(Session(story.core), lambda: story.now)
    (incident_id,) = story.core.incidents.reports
    shown, text = desk.report(incident_id, "page"), desk.report(incident_id, "text")
    assert shown is not None and text is not None
    assert "<script>" not in shown and "<img" not in shown
    assert "\x1b" not in shown and "\x1b" not in text
