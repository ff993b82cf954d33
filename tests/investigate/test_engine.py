"""Conclusions from stories: the twins that look alike must not be told alike."""

from __future__ import annotations

import errno
import signal

import pytest

from receiver.events import CallFailed, CallKind, Crash, NameQuery, OomScope, ProcessKey
from receiver.investigate.engine import CONFIDENT, conclude
from receiver.investigate.report import to_json
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, report_of

STRANGER = ProcessKey(666, 5)


def test_137_by_the_kernel_and_137_by_somebody_are_two_things() -> None:
    causes = []
    for by_kernel in (True, False):
        story = Story()
        root = story.command("bash", "job.sh")
        step = story.spawn(root, "python3", "load.py")
        if by_kernel:
            story.oom(step)
            story.signal(step, step, signal.SIGKILL, code=128)
        else:
            story.signal(STRANGER, step, signal.SIGKILL, comm="watchdog")
        story.exit(step, signal=signal.SIGKILL)
        story.exit(root, 137)
        causes.append(cause_of(report_of(story)))
    assert causes == ["mem.cgroup_oom", "kill.supervisor"]


def test_the_trigger_of_an_oom_kill_is_not_blamed() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.oom(step, trigger=STRANGER)
    story.exit(step, signal=9)
    story.exit(root, 137)
    report = report_of(story)
    lead = report.hypotheses[0]
    assert (lead.cause, lead.culprit.pid) == ("mem.cgroup_oom", step.tgid)
    assert any("This does not show which process grew" in e.text for e in lead.weighed)


def test_the_host_out_of_memory_is_no_cgroup() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.oom(step, scope=OomScope.HOST)
    story.exit(step, signal=9)
    story.exit(root, 137)
    report = report_of(story)
    assert cause_of(report) == "mem.host_oom"
    assert {"mem.cgroup_oom", "kill.supervisor"} <= {
        r.cause for r in report.hypotheses[0].ruled_out
    }


def test_a_plain_failure_is_not_visible_and_says_what_was_normal() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "load.py")
    story.writes(step, "/data/out.csv")
    story.exit(step, 1)
    story.exit(root, 1)
    report = report_of(story)
    assert report.verdict == "not_visible"
    assert any("closed by the writers" in line.text for line in report.normality)
    assert "Examine the data" in report.summary


def test_a_success_is_healthy() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    story.exit(story.spawn(root, "grep", "x"), 1)
    story.exit(root)
    assert report_of(story).verdict == "healthy"


@pytest.mark.parametrize(
    ("call", "error", "cause"),
    [
        (CallKind.WRITE, errno.ENOSPC, "fs.enospc"),
        (CallKind.OPEN, errno.ENOSPC, "fs.inodes_quota"),
        (CallKind.OPEN, errno.EDQUOT, "fs.inodes_quota"),
        (CallKind.OPEN, errno.EACCES, "fs.eacces"),
        (CallKind.OPEN, errno.EMFILE, "lim.emfile"),
        (CallKind.CLONE, errno.EAGAIN, "lim.pids"),
        (CallKind.MEMORY, errno.ENOMEM, "mem.rlimit"),
        (CallKind.LOCK, errno.EAGAIN, "fs.lock"),
        (CallKind.EXEC, errno.ENOENT, "proc.interpreter"),
    ],
)
def test_the_last_failing_call_tells(call: CallKind, error: int, cause: str) -> None:
    """The same story told to two observers gives the same report, byte by byte."""
    reports = []
    for _ in range(2):
        story = Story()
        root = story.command("bash", "job.sh")
        step = story.spawn(root, "python3", "load.py")
        values = {
            "first_boottime_ns": story.now,
            "last_boottime_ns": story.now + 50 * MS,
            "failures": 1,
            "path": "/data/x",
            "subject": 1,
        }
        story.fact(CallFailed, step, call=call, error=error, call_number=1, **values)
        story.exit(step, 1)
        story.exit(root, 1)
        reports.append(report_of(story))
    assert [cause_of(r) for r in reports] == [cause, cause]
    assert to_json(reports[0]) == to_json(reports[1])


def test_a_name_that_nobody_answers_is_told_when_its_asker_fails() -> None:
    story = Story()
    root = story.command("python3", "load.py")
    story.fact(
        NameQuery,
        root,
        server_low=0x0100007F,
        family=2,
        port=53,
        query_id=7,
        question_type=1,
        labels="\x02db\x04prod",
    )
    story.step(2500)
    story.exit(root, 1)
    report = report_of(story)
    assert (cause_of(report), report.hypotheses[0].culprit.address) == ("net.dns", "127.0.0.1:53")


def test_a_crash_is_told_with_the_file_that_it_stood_in() -> None:
    story = Story()
    root = story.command("python3", "x.py")
    story.fact(
        Crash,
        root,
        signal=signal.SIGSEGV,
        module="/opt/lib/libarrow.so.16",
        module_offset=0x1F00,
        address=0x7F001F00,
        thread=9,
    )
    story.signal(root, root, signal.SIGSEGV, code=1)
    story.exit(root, signal=signal.SIGSEGV)
    report = report_of(story)
    assert report.summary.endswith("crashed with SIGSEGV in libarrow.so.16.")
    assert any(
        "/opt/lib/libarrow.so.16, offset 0x1f00" in e.text for e in report.hypotheses[0].weighed
    )


def test_a_moved_clock_is_named() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    story.core.set_wall_offset(1_700_000_000_000_000_000 - 30 * 10**9, story.now)
    story.exit(root, 1)
    report = report_of(story)
    assert cause_of(report) == "time.clock" and "-30.0 s" in report.summary


def test_confidence_is_no_certainty() -> None:
    story = Story()
    root = story.command("python3", "x.py")
    story.oom(root)
    story.exit(root, signal=9)
    story.finish()
    execution = story.core.watched(root.tgid)
    assert execution is not None
    ranked = conclude(story.core.case(execution, story.now)).ranked
    assert CONFIDENT < ranked[0].confidence < 1
    assert [r.confidence for r in ranked] == sorted((r.confidence for r in ranked), reverse=True)


def test_what_came_after_the_failure_did_not_cause_it() -> None:
    """A service that its starter ends 25 s after its start looks like a time limit;
    the task had failed long before."""
    story = Story()
    root = story.command("python3", "drive.py")
    service = story.spawn(root, "python3", "service.py")
    helper = story.spawn(service, "python3", "helper.py")
    step = story.spawn(root, "python3", "load.py")
    story.step(10_000)
    story.signal(STRANGER, step, signal.SIGKILL, comm="watchdog")
    story.exit(step, signal=signal.SIGKILL)
    story.step(15_000)
    story.signal(root, service, signal.SIGTERM, comm="python3")
    story.exit(service, signal=signal.SIGTERM)
    story.exit(helper, after_ms=2_000)
    story.exit(root, 1)
    lead = report_of(story).hypotheses[0]
    assert (lead.cause, lead.culprit.pid) == ("kill.supervisor", STRANGER.tgid)
