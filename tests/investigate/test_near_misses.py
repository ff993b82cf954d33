"""Failures that look alike: each with its reason, and with a near miss in which the same sign is
ordinary."""

from __future__ import annotations

import errno
import os
import signal
from typing import Any

import pytest

from receiver.events import (
    CallFailed,
    CallKind,
    Connection,
    ConnectionStage,
    EarlySample,
    LastFailure,
    ProcessKey,
    SubjectKind,
)
from receiver.units import MIB, SECOND
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, report_of

FLOCK, EXECVE, MKDIR = 73, 59, 83


def refused(story: Story, who: ProcessKey, **fields: Any) -> None:
    """A failed call that is told at once."""
    values: dict[str, Any] = {
        "failures": 1,
        "subject": SubjectKind.PATH_ASKED,
        "first_boottime_ns": story.now,
        "last_boottime_ns": story.now,
    }
    story.fact(CallFailed, who, **(values | fields))


def last_failed(story: Story, who: ProcessKey, *, ago_ms: float = 5, **fields: Any) -> None:
    """One of the last failed calls of a process that failed."""
    values: dict[str, Any] = {
        "failures": 1,
        "subject": SubjectKind.PATH_ASKED,
        "thread": who.tgid,
        "failed_boottime_ns": story.now - int(ago_ms * MS),
    }
    story.fact(LastFailure, who, **(values | fields))


# ── locks ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "later", "cause"),
    [
        ("/data/state.lock", {}, "fs.lock"),
        # It did without the lock, and failed after other work.
        ("/data/state.lock", {"later_files": 5, "later_cpu_ns": SECOND}, "none.not_visible"),
        # Each JVM tries the files of all others.
        ("/tmp/hsperfdata_root/4711", {}, "none.not_visible"),
    ],
)
def test_a_refused_lock_is_a_reason_only_for_who_needs_it(
    path: str, later: dict[str, Any], cause: str
) -> None:
    story = Story()
    root = story.command("java", "-jar", "job.jar")
    lock: dict[str, Any] = {
        "call": CallKind.LOCK,
        "call_number": FLOCK,
        "error": errno.EAGAIN,
        "path": path,
        "subject": SubjectKind.LOCK,
    }
    refused(story, root, **lock)
    story.step(800)
    last_failed(story, root, **(lock | later))
    story.exit(root, 1, after_ms=1)
    assert cause_of(report_of(story)) == cause


# ── programs that could not be started ────────────────────────────────────────────────────────────


def _spawns_in_vain(*, again: bool) -> Story:
    """A program starts another one by a helper of its own, which reports by a pipe."""
    story = Story()
    root = story.command("java", "-jar", "job.jar")
    helper = story.spawn(root, "jspawnhelper", "5:6:7")
    story.step()
    refused(
        story, helper, call=CallKind.EXEC, call_number=EXECVE, error=errno.ENOENT, path="/opt/fold"
    )
    story.exit(helper, 255, after_ms=1)
    if again:  # the program was found elsewhere, and worked
        story.exit(story.spawn(root, "fold"), after_ms=300)
    story.exit(root, 1, after_ms=50)
    return story


def test_a_program_that_a_helper_could_not_start() -> None:
    report = report_of(_spawns_in_vain(again=False))
    lead = report.hypotheses[0]
    assert cause_of(report) == "proc.interpreter" and lead.culprit.path == "/opt/fold"
    assert lead.confidence > 0.8


def test_a_program_that_was_found_elsewhere_is_not_missed() -> None:
    assert cause_of(report_of(_spawns_in_vain(again=True))) != "proc.interpreter"


# ── heap limits ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "peak_mib", "cause"),
    [
        (("--max-old-space-size=96",), 162, "mem.app_heap"),
        (("--max-old-space-size=4096", "--max-old-space-size=96"), 162, "mem.app_heap"),
        (("--max-old-space-size=96", "--max-old-space-size=4096"), 162, "crash.abort_ill"),
        (("-Xmx98304k",), 162, "mem.app_heap"),
        (("--max-old-space-size=96",), 90, "crash.abort_ill"),  # far below its limit
        (("rank.js", "--max-old-space-size=96"), 162, "crash.abort_ill"),  # an option of the script
        ((), 162, "crash.abort_ill"),  # nothing says that it has a limit
    ],
)
def test_a_runtime_that_aborts_itself_at_the_limit_of_its_heap(
    options: tuple[str, ...], peak_mib: int, cause: str
) -> None:
    story = Story()
    root = story.command("node", *options, "rank.js")
    for held in (44, 80, peak_mib):
        story.step(150)
        story.fact(EarlySample, root, anon_bytes=held * MIB, cpu_runtime_ns=SECOND)
    story.signal(root, root, signal.SIGABRT, code=-6, comm="node")
    story.exit(root, signal=signal.SIGABRT, after_ms=1, peak_rss_bytes=peak_mib * MIB)
    report = report_of(story)
    assert cause_of(report) == cause
    if cause == "mem.app_heap":
        assert "96.0 MiB" in report.summary and report.hypotheses[0].culprit.pid == root.tgid


@pytest.mark.parametrize(
    ("options", "held_mib", "cause"),
    [
        (("-Xmx96m",), (17, 36, 61), "mem.app_heap"),  # objects of half a region waste the rest
        (("-Xmx96m",), (30, 80, 112), "mem.app_heap"),
        (("-Xmx900m",), (17, 36, 61), "none.not_visible"),  # far below its limit
        (("-Xmx96m",), (2, 15, 22), "none.not_visible"),  # a JVM that starts
        (("-Xmx96m",), (61, 61, 61), "none.not_visible"),  # it had stopped growing
        ((), (17, 36, 61), "none.not_visible"),  # nothing says that it has a limit
    ],
)
@pytest.mark.parametrize("pool", [False, True])
def test_a_jvm_that_exits_while_it_grows_towards_the_limit_of_its_heap(
    options: tuple[str, ...], held_mib: tuple[int, ...], cause: str, pool: bool
) -> None:
    story = Story()
    root = story.command("python3", "run.py")
    above = story.fork(root) if pool else root
    job = story.spawn(above, "java", *options, "-jar", "rank.jar")
    for held in held_mib[:-1]:
        story.step(200)
        story.fact(
            EarlySample, job, anon_bytes=held * MIB, file_bytes=21 * MIB, cpu_runtime_ns=SECOND
        )
    peak = (held_mib[-1] + 21) * MIB
    story.exit(job, 1, after_ms=150, peak_rss_bytes=peak)
    if pool:
        story.exit(above, 0, after_ms=5)
    story.exit(root, 1, after_ms=30)
    report = report_of(story)
    assert cause_of(report) == cause
    if cause == "mem.app_heap":
        lead = report.hypotheses[0]
        assert "96.0 MiB" in report.summary and lead.culprit.pid == job.tgid
        assert 0.5 < lead.confidence < 0.9


# ── paths that exist ──────────────────────────────────────────────────────────────────────────────

MADE: dict[str, Any] = {
    "call": CallKind.CHANGE,
    "call_number": MKDIR,
    "error": errno.EEXIST,
    "path": "/data/out",
}


@pytest.mark.parametrize(
    ("later", "cause"),
    [
        ({"later_cpu_ns": 8 * MS}, "fs.path_exists"),  # it ended with a message
        ({"later_written_bytes": 0}, "none.not_visible"),  # it decided something, without a word
        ({"later_cpu_ns": 35 * MS}, "none.not_visible"),  # it worked with the directory
        ({"later_files": 1}, "none.not_visible"),  # it wrote into it
        ({"ago_ms": 1500}, "none.not_visible"),
    ],
)
def test_a_directory_that_exists_ends_only_who_needs_a_new_one(
    later: dict[str, Any], cause: str
) -> None:
    story = Story()
    root = story.command("node", "load.js")
    story.step(2_000)
    last_failed(story, root, **(MADE | {"later_written_bytes": 90} | later))
    story.exit(root, 1, after_ms=1)
    assert cause_of(report_of(story)) == cause


@pytest.mark.parametrize(
    ("status", "after_ms", "cause"),
    [(1, 30, "fs.path_exists"), (3, 30, "none.not_visible"), (1, 5_000, "none.not_visible")],
)
def test_a_worker_that_hands_a_failure_on_and_ends_well(
    status: int, after_ms: float, cause: str
) -> None:
    story = Story()
    root = story.command("python3", "pool.py")
    worker = story.fork(root)
    step = story.spawn(worker, "node", "load.js")
    story.step(500)
    last_failed(
        story, step, call=CallKind.OPEN, call_number=2, error=errno.EEXIST, path="/data/out.csv"
    )
    story.exit(step, 1, after_ms=1)
    story.exit(worker, 0, after_ms=5)
    story.exit(root, status, after_ms=after_ms)
    assert cause_of(report_of(story)) == cause


# ── full file systems ─────────────────────────────────────────────────────────────────────────────


def test_a_writer_that_met_a_full_disk_has_not_filled_it_as_far_as_was_seen() -> None:
    """Others may have filled it before anybody looked."""
    story = Story()
    root = story.command("python3", "load.py")
    story.writes(root, "/data/rows.dat", inode=9, size=5 * MIB)
    refused(
        story, root, call=CallKind.WRITE, call_number=1, error=errno.ENOSPC, path="/data/rows.dat"
    )
    story.exit(root, 1, after_ms=1)
    lead = report_of(story).hypotheses[0]
    assert (lead.cause, lead.culprit.type, lead.culprit.path) == (
        "fs.enospc",
        "file",
        "/data/rows.dat",
    )
    assert "of the observed processes" in lead.summary and "5.0 MiB" in lead.summary


@pytest.mark.parametrize(("size", "culprit"), [(100, "/data/rows.dat"), (40 * MIB, "fill.py")])
def test_only_who_wrote_much_filled_a_disk(size: int, culprit: str) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    other = story.spawn(root, "python3", "fill.py")
    story.writes(other, "/data/day.log", inode=8, size=size)
    story.exit(other)
    step = story.spawn(root, "python3", "step.py")
    story.opens(step, "/data/rows.dat", os.O_WRONLY | os.O_CREAT, inode=9)
    refused(
        story, step, call=CallKind.WRITE, call_number=1, error=errno.ENOSPC, path="/data/rows.dat"
    )
    story.exit(step, 1, after_ms=1)
    story.exit(root, 1)
    report = report_of(story)
    assert cause_of(report) == "fs.enospc"
    lead = report.hypotheses[0].culprit
    assert (lead.name or lead.path) == culprit


# ── answers that did not come ─────────────────────────────────────────────────────────────────────


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


# ── connections that are not established ──────────────────────────────────────────────────────────


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


@pytest.mark.parametrize(("status", "cause"), [(1, "none.not_visible"), (4, "proc.exit_masked")])
def test_a_pool_hands_any_failure_on_with_the_status_of_an_exception(
    status: int, cause: str
) -> None:
    """A worker ends well, and its root with status 1: the failure of the step was not masked."""
    story = Story()
    root = story.command("python3", "pool.py")
    worker = story.fork(root)
    step = story.spawn(worker, "collect", "stock")
    story.exit(step, 7, after_ms=500)
    story.exit(worker, 0, after_ms=5)
    story.exit(root, status, after_ms=40)
    assert cause_of(report_of(story)) == cause


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
