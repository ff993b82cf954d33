"""Peers that answer late, reset a connection or hold an answer."""

from __future__ import annotations

import errno
import signal

import pytest

from receiver.events import CallKind, ConnectionFlag, ConnectionStage
from receiver.units import SECOND
from tests.builders import MS, Story
from tests.investigate.peers import SERVER, link, refused
from tests.investigate.telling import cause_of, hypothesis, report_of


@pytest.mark.parametrize(("seconds", "silent"), [(2, False), (8, True)])
def test_a_peer_that_takes_seconds_to_answer_is_no_silent_one(seconds: int, silent: bool) -> None:
    story = Story()
    root = story.command("python3", "load.py")
    link(story, root, ConnectionStage.CONNECTED)
    asked = story.now
    link(story, root, ConnectionStage.SAMPLED, sent_bytes=100, last_send_boottime_ns=asked)
    story.step(seconds * 1000)
    link(story, root, ConnectionStage.CLOSED, sent_bytes=100, last_send_boottime_ns=asked)
    story.exit(root, 1)
    causes = [h.cause for h in report_of(story).hypotheses]
    assert ("net.silent_peer" in causes) is silent


def test_a_connection_that_was_reset_is_told_as_a_reset() -> None:
    """By the error of the socket alone: the reset itself can have come unseen."""
    story = Story()
    root = story.command("python3", "load.py")
    link(story, root, ConnectionStage.CONNECTED)
    story.step(1_000)
    link(
        story,
        root,
        ConnectionStage.CLOSED,
        error=errno.ECONNRESET,
        sent_bytes=100,
        received_bytes=50,
        last_send_boottime_ns=story.now,
    )
    story.exit(root, 1)
    lead = hypothesis(report_of(story), "net.reset_short")
    assert lead.weighed[0].text.startswith("10.0.0.5:5000 reset a connection of python3")


@pytest.mark.parametrize(
    ("unread", "resumes", "told"), [(21_000, True, True), (0, True, False), (21_000, False, False)]
)
def test_answers_that_are_held_until_another_call_is_answered(
    unread: int, resumes: bool, told: bool
) -> None:
    """A credential is refreshed over a plain address: what the call is for is not visible."""
    story = Story()
    root = story.command("python3", "read.py")
    lake = {"peer_port": 5000, "established_boottime_ns": story.now}
    asked = story.now + SECOND
    sent = {"sent_bytes": 100, "last_send_boottime_ns": story.now}
    read = {"received_bytes": 128_000, "last_receive_boottime_ns": story.now + 10 * MS}
    call = {"peer_port": 6000, "connection_id": 20, "established_boottime_ns": asked}
    for connection in (9, 10):
        link(story, root, ConnectionStage.CONNECTED, **(lake | {"connection_id": connection}))
    story.step(1_000)
    link(story, root, ConnectionStage.CONNECTED, **call)
    asks = {"sent_bytes": 90, "last_send_boottime_ns": asked}
    for _ in range(6):
        story.step(1_000)
        for connection in (9, 10):
            held = lake | sent | read | {"connection_id": connection, "unread_bytes": unread}
            link(story, root, ConnectionStage.SAMPLED, **held)
        link(story, root, ConnectionStage.SAMPLED, **(call | asks))
    answered = {"received_bytes": 500, "last_receive_boottime_ns": story.now}
    link(story, root, ConnectionStage.CLOSED, **(call | asks | answered))
    if not resumes:
        story.step(4_000)
    more = {"received_bytes": 200_000, "last_receive_boottime_ns": story.now}
    for connection in (9, 10):
        link(
            story,
            root,
            ConnectionStage.CLOSED,
            **(lake | sent | more | {"connection_id": connection}),
        )
    story.exit(root)
    pools = [h for h in report_of(story).hypotheses if h.cause == "net.pool"]
    assert [h.culprit.address.rpartition(":")[2] for h in pools] == (["6000"] if told else [])


@pytest.mark.parametrize(("part", "others"), [(True, []), (False, ["fs.eacces"])])
def test_broken_connections_belong_to_the_story_of_a_child_that_was_killed(
    part: bool, others: list[str]
) -> None:
    """A step that may not read its file, beside it, is an incident of its own."""
    story = Story()
    root = story.command("bash", "job.sh")
    driver = story.spawn(root, "python3", "drive.py")
    worker = story.fork(driver)
    client = story.spawn(root, "python3", "load.py")
    link(
        story,
        worker,
        ConnectionStage.CONNECTED,
        connection_id=10,
        local_low=SERVER,
        local_port=5000,
        peer_port=40_000,
        connection_flags=int(ConnectionFlag.ACCEPTED),
    )
    story.oom(worker)
    story.exit(worker, signal=signal.SIGKILL)
    if part:
        link(
            story,
            client,
            ConnectionStage.CLOSED,
            error=errno.ECONNRESET,
            sent_bytes=100,
            received_bytes=50,
            last_send_boottime_ns=story.now,
        )
    else:
        refused(story, client, CallKind.OPEN, errno.EACCES, path="/data/secret", subject=1)
    story.exit(client, 1)
    story.exit(driver, 1)
    story.exit(root, 1)
    report = report_of(story)
    assert cause_of(report) == "mem.child_oom"
    assert [o.hypotheses[0].cause for o in report.other_incidents] == others
