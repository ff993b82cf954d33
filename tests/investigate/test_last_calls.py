"""Paths and directories in failed calls that ended a process, each with a near miss."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from receiver.events import (
    FailureFlag,
    FileOperation,
)
from receiver.units import SECOND
from tests.investigate.jobs import ORDERS, Job


def test_a_path_that_another_step_removed() -> None:
    job = Job()
    cleaner = job.story.spawn(job.root, "rm", "-f", ORDERS)
    job.changes(cleaner, FileOperation.UNLINK, ORDERS)
    job.story.exit(cleaner)
    job.story.step(500)
    job.failed("open", errno.ENOENT)
    cause, culprit, summary = job.ends()
    assert (cause, culprit) == ("fs.path_missing", "rm")
    assert f"rm ({cleaner.tgid}) had removed it" in summary


def test_a_path_that_was_made_again_was_not_missed_because_of_its_removal() -> None:
    job = Job()
    cleaner = job.story.spawn(job.root, "rm", "-f", ORDERS)
    job.changes(cleaner, FileOperation.UNLINK, ORDERS)
    job.story.writes(job.root, ORDERS)
    job.failed("open", errno.ENOENT, ago_ms=0)
    _, culprit, summary = job.ends()
    assert culprit == ORDERS and "removed" not in summary


def test_a_directory_above_it_was_renamed() -> None:
    job = Job()
    mover = job.story.spawn(job.root, "mv", "/data", "/old")
    job.changes(mover, FileOperation.RENAME, "/data", new_path="/old")
    job.failed("open", errno.ENOENT, ago_ms=0)
    cause, culprit, summary = job.ends()
    assert (cause, culprit) == ("fs.path_missing", "mv") and "renamed /data to /old" in summary


def test_a_path_that_is_made_too_late() -> None:
    job = Job()
    writer = job.story.spawn(job.root, "python3", "write.py")
    job.failed("open", errno.ENOENT, ago_ms=0)
    job.story.writes(writer, ORDERS)
    cause, culprit, summary = job.ends()
    assert (cause, culprit) == ("fs.path_missing", "write.py") and "did not exist yet" in summary


@pytest.mark.parametrize(
    "other",
    [
        {"ago_ms": 20_000},  # it went on for long
        {"later_files": 3},  # it read other data afterwards
        {"later_cpu_ns": SECOND},
        {"later_code_files": 60},  # a program that starts
        {"path": "/home/u/.netrc"},  # most have none
        {"path": "/etc/tool.conf", "failure_flags": int(FailureFlag.PROBE)},
        {"path": "/usr/bin/pyvenv.cfg"},
        {"path": "/work/<string>", "directory": ""},
    ],
    ids=lambda other: "-".join(other),
)
def test_a_probe_is_not_the_reason_for_an_own_decision(other: dict[str, Any]) -> None:
    job = Job()
    job.story.step(30_000)
    job.failed("open", errno.ENOENT, **other)
    assert job.ends()[0] == "none.not_visible"


def test_a_path_that_never_was_is_named_as_such() -> None:
    job = Job()
    job.failed("open", errno.ENOENT, later_written_bytes=200)
    cause, culprit, _ = job.ends()
    assert (cause, culprit) == ("fs.path_missing", ORDERS)


def test_a_path_that_it_then_made_itself_is_not_missed() -> None:
    job = Job()
    job.failed("open", errno.ENOENT, ago_ms=0)
    job.story.writes(job.step, ORDERS)
    assert job.ends()[0] == "none.not_visible"


def test_a_question_counts_only_for_an_argument_of_the_command() -> None:
    copy = Job("cp", ORDERS, "/tmp/x")
    copy.failed("stat", errno.ENOENT, ago_ms=1)
    assert copy.ends()[:2] == ("fs.path_missing", ORDERS)
    check = Job("python3", "check.py")
    check.failed("stat", errno.ENOENT, ago_ms=1)
    assert check.ends()[0] == "none.not_visible"


def test_a_step_that_failed_because_of_its_child_is_not_blamed_for_a_path() -> None:
    job = Job()
    job.story.step(1_000)
    failed_ns = job.story.now
    child = job.story.spawn(job.step, "python3", "part.py")
    job.story.exit(child, 3)
    job.failed("open", errno.ENOENT, failed_boottime_ns=failed_ns)
    assert job.ends()[0] == "none.not_visible"


def test_an_exclusive_file_of_somebody_who_failed() -> None:
    job = Job()
    before = job.story.spawn(job.root, "python3", "first.py")
    job.story.writes(before, "/run/job.pid", inode=77)
    job.story.exit(before, 9)
    job.story.step(2_000)
    job.failed("open", errno.EEXIST, "/run/job.pid")
    cause, culprit, summary = job.ends()
    assert (cause, culprit) == ("fs.path_exists", "first.py") and "left it" in summary


def test_a_directory_that_exists_is_ordinary_and_a_race_for_it_is_not() -> None:
    own = Job()
    own.failed("mkdir", errno.EEXIST, "/data/out")
    assert own.ends()[0] == "none.not_visible"
    race = Job()
    rival = race.story.spawn(race.root, "python3", "rival.py")
    race.changes(rival, FileOperation.MKDIR, "/data/out")
    race.failed("mkdir", errno.EEXIST, "/data/out", ago_ms=0)
    cause, culprit, summary = race.ends()
    assert (cause, culprit) == ("fs.path_exists", "rival.py") and "was running" in summary
