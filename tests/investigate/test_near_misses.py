"""Failures that look alike: each with its reason, and with a near miss in which the same sign is ordinary."""

from __future__ import annotations

import errno
import signal
from typing import Any

import pytest

from receiver.events import (
    CallFailed,
    CallKind,
    EarlySample,
    LastFailure,
    ProcessKey,
    SubjectKind,
)
from receiver.units import MIB, SECOND
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, report_of

FLOCK, EXECVE = 73, 59


def refused(story: Story, who: ProcessKey, **fields: Any) -> None:
    """A failed call that is told at once."""
    values: dict[str, Any] = {
        "failures": 1, "subject": SubjectKind.PATH_ASKED, "first_boottime_ns": story.now,
        "last_boottime_ns": story.now,
    }  # fmt: skip
    story.fact(CallFailed, who, **(values | fields))


def last_failed(story: Story, who: ProcessKey, *, ago_ms: float = 5, **fields: Any) -> None:
    """One of the last failed calls of a process that failed."""
    values: dict[str, Any] = {
        "failures": 1, "subject": SubjectKind.PATH_ASKED, "thread": who.tgid,
        "failed_boottime_ns": story.now - int(ago_ms * MS),
    }  # fmt: skip
    story.fact(LastFailure, who, **(values | fields))


# ── locks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


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
        "call": CallKind.LOCK, "call_number": FLOCK, "error": errno.EAGAIN, "path": path,
        "subject": SubjectKind.LOCK,
    }  # fmt: skip
    refused(story, root, **lock)
    story.step(800)
    last_failed(story, root, **(lock | later))
    story.exit(root, 1, after_ms=1)
    assert cause_of(report_of(story)) == cause


# ── programs that could not be started ──────────────────────────────────────────────────────────────────────────────


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


# ── heap limits ──────────────────────────────────────────────────────────────────────────────────────────────────────


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
