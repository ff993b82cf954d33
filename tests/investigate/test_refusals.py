"""Locks, programs, paths and disks that were refused: each with a near miss in which the refusal is
not the reason."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from receiver.events import CallFailed, CallKind, ProcessKey, SubjectKind
from receiver.units import MIB, SECOND
from tests.builders import MS, Story
from tests.investigate.telling import cause_of, last_failed, report_of

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
