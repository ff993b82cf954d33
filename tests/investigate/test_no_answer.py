"""Answers and connections that did not come: who gave up, and by whose limit."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.events import Connection, ConnectionStage, EarlySample, ProcessKey
from receiver.investigate.report import to_json
from receiver.units import MIB
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, report_of


@pytest.mark.parametrize(
    ("waited_ms", "cpu_ms", "other", "cause"),
    [
        (1500, 30, {}, "net.silent_peer"),
        (2500, 30, {}, "net.silent_peer"),
        (1500, 900, {}, "none.not_visible"),  # it worked: nothing was to be answered
        (300, 3, {}, "none.not_visible"),
        (1500, 30, {"answered": True}, "none.not_visible"),
        (1500, 30, {"went_on": True}, "none.not_visible"),
    ],
)
def test_a_client_that_gives_up_by_its_own_limit(
    waited_ms: int, cpu_ms: int, other: dict[str, bool], cause: str
) -> None:
    story = Story()
    root = story.command("perl", "ask.pl")
    story.step(100)
    sent_ns = story.now
    at: dict[str, Any] = {
        "connection_id": 1,
        "family": 2,
        "peer_low": 0x0200000A,
        "peer_port": 9000,
        "local_port": 40_000,
        "established_boottime_ns": sent_ns - MS,
    }
    story.fact(Connection, root, stage=ConnectionStage.CONNECTED, **at)
    story.step(100)
    story.fact(EarlySample, root, anon_bytes=4 * MIB, cpu_runtime_ns=50 * MS)
    story.step(waited_ms)
    received_ns = sent_ns + 500 * MS if other.get("answered") else 0
    story.fact(
        Connection,
        root,
        stage=ConnectionStage.CLOSED,
        last_send_boottime_ns=sent_ns,
        last_receive_boottime_ns=received_ns,
        sent_bytes=4,
        **at,
    )
    after_ms = 1_400 if other.get("went_on") else 5
    story.exit(root, 255, after_ms=after_ms, cpu_runtime_ns=(50 + cpu_ms) * MS)
    assert cause_of(report_of(story)) == cause


@pytest.mark.parametrize(
    ("earlier", "received", "cause"),
    [
        (0, 0, "net.blackhole"),
        (2, 0, "net.backlog_refused"),  # the host answered, and no process accepted
        (2, 90, "net.blackhole"),  # its server had accepted
    ],
)
def test_a_host_that_answered_before_has_a_full_queue(
    earlier: int, received: int, cause: str
) -> None:
    story = Story()
    root = story.command("python3", "ask.py")
    server: dict[str, Any] = {"family": 2, "peer_low": 0x0200000A, "peer_port": 9000}
    for number in range(earlier):
        made = server | {"connection_id": story.now, "established_boottime_ns": story.now}
        made |= {"local_port": 40_000 + number, "received_bytes": received}
        story.fact(Connection, root, stage=ConnectionStage.CONNECTED, **made)
        story.fact(Connection, root, stage=ConnectionStage.SAMPLED, **made)
    began = story.now
    story.step(2_000)
    story.fact(
        Connection,
        root,
        stage=ConnectionStage.FAILED,
        connection_id=began,
        local_port=41_000,
        retransmits=2,
        **server,
    )
    story.exit(root, 1, after_ms=5)
    report = report_of(story)
    assert cause_of(report) == cause
    assert report.hypotheses[0].culprit.address == "10.0.0.2:9000"


@pytest.mark.parametrize(
    ("first", "cause"), [("asks", "net.backlog_refused"), ("gives up", "net.blackhole")]
)
def test_only_who_was_connected_before_shows_a_full_queue(first: str, cause: str) -> None:
    """A host that answers after the failure shows that it did not answer before."""
    story = Story()
    root = story.command("bash", "job.sh")
    server: dict[str, Any] = {"family": 2, "peer_low": 0x0200000A, "peer_port": 9000}
    other = story.spawn(root, "python3", "other.py")

    def asks() -> None:
        made = server | {"connection_id": story.now, "established_boottime_ns": story.now}
        made["local_port"] = 40_000
        story.fact(Connection, other, stage=ConnectionStage.CONNECTED, **made)
        story.fact(Connection, other, stage=ConnectionStage.SAMPLED, **made)

    if first == "asks":
        asks()
    step = story.spawn(root, "python3", "ask.py")
    made = server | {"connection_id": story.now, "local_port": 41_000, "retransmits": 2}
    story.step(2_000)
    story.fact(Connection, step, stage=ConnectionStage.FAILED, **made)
    if first == "gives up":
        asks()
    story.exit(step, 1, after_ms=5)
    story.exit(other)
    story.exit(root, 1)
    report = report_of(story)
    assert cause_of(report) == cause
    told = to_json(report).decode()
    assert (f"python3 ({other.tgid}) had connected to it before" in told) is (first == "asks")


@pytest.mark.parametrize(
    ("closed_first", "status", "cause"),
    [(True, 3, "db.lock_wait"), (False, 3, "db.lock_wait"), (False, 0, "none.degraded")],
)
def test_a_statement_that_met_the_time_limit_of_its_database(
    closed_first: bool, status: int, cause: str
) -> None:
    """The exit of a client closes its connection: the last event of that comes after it."""
    story = Story()
    root = story.command("bash", "job.sh")
    database: dict[str, Any] = {"family": 2, "peer_low": 0x0200000A, "peer_port": 5432}

    def connects(port: int) -> tuple[ProcessKey, dict[str, Any]]:
        who = story.spawn(root, "psql", "-qf", f"{port}.sql")
        link = database | {"connection_id": story.now, "established_boottime_ns": story.now}
        link["local_port"] = port
        story.fact(Connection, who, stage=ConnectionStage.CONNECTED, **link)
        return who, link | {"sent_bytes": 100, "received_bytes": 300}

    holder, held = connects(40_001)
    client, mine = connects(40_002)
    asked = story.now
    for _ in range(5):
        story.step(1_000)
        for who, link, received in ((holder, held, asked + 1), (client, mine, asked - MS)):
            times = {"last_send_boottime_ns": asked, "last_receive_boottime_ns": received}
            story.fact(Connection, who, stage=ConnectionStage.SAMPLED, **(link | times))
        story.tick(0)
    end = {"last_send_boottime_ns": story.now, "last_receive_boottime_ns": story.now - MS}
    if closed_first:
        story.fact(Connection, client, stage=ConnectionStage.CLOSED, **(mine | end))
    story.exit(client, status, after_ms=1)
    if not closed_first:
        story.step(27)
        story.fact(Connection, client, stage=ConnectionStage.CLOSED, **(mine | end))
    story.exit(holder, 0, after_ms=900)
    story.exit(root, status)
    assert cause_of(report_of(story)) == cause
