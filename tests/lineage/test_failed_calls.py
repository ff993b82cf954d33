"""Calls on files that fail: full disks, denials, locks, and paths that are not there."""

from __future__ import annotations

import errno

import pytest

from receiver import semconv as sc
from receiver.events import (
    CallFailed,
    CallKind,
    ProcessKey,
    SubjectKind,
)
from tests.builders import Story, attributes


def failing(
    story: Story, key: ProcessKey, error: int, call: CallKind, failures: int = 1, **other: object
) -> None:
    story.fact(
        CallFailed,
        key,
        error=error,
        call=call,
        failures=failures,
        call_number=257,
        last_boottime_ns=story.now,
        first_boottime_ns=story.now,
        **other,
    )


def test_a_full_disk_is_told_at_once() -> None:
    story = Story()
    writer = story.task("extract")
    failing(story, writer, errno.ENOSPC, CallKind.WRITE, subject=SubjectKind.FILE, path="/data/out")
    (record,) = story.events(sc.EVENT_PROCESS_CALL_FAILED)
    found = attributes(record)
    assert (found[sc.ERROR_TYPE], found[sc.PROCESS_CALL_OBJECT], found[sc.PROCESS_CALL_NAME]) == (
        "ENOSPC",
        "/data/out",
        "openat",
    )


def test_a_denied_file_is_told_when_its_process_fails() -> None:
    story = Story()
    for code in (0, 1):
        worker = story.task("extract", run=f"r{code}")
        failing(
            story,
            worker,
            errno.EACCES,
            CallKind.OPEN,
            subject=SubjectKind.PATH_ASKED,
            directory="/data",
            path="secret",
        )
        failing(story, worker, errno.EACCES, CallKind.OPEN, 40)
        assert story.events(sc.EVENT_PROCESS_CALL_FAILED) == []
        story.exit(worker, code)
    (record,) = story.events(sc.EVENT_PROCESS_CALL_FAILED)
    found = attributes(record)
    assert (found[sc.PROCESS_CALL_OBJECT], found[sc.PROCESS_CALL_FAILURES]) == ("/data/secret", 40)


def lock_refusals(story: Story, *counts: int) -> ProcessKey:
    """A worker that is refused a lock; each record has the count so far, as the kernel
    half sends them."""
    worker = story.task("load")
    for count in counts:
        failing(
            story,
            worker,
            errno.EAGAIN,
            CallKind.LOCK,
            count,
            subject=SubjectKind.LOCK,
            path="/data/db",
            holder=ProcessKey(77, 0),
        )
    return worker


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ((1, 16, 256), 16),
        ((1, 40), 40),  # the record of the 16th was lost
        ((16, 256), 16),  # the first record was lost
        ((300,), 300),
    ],
)
def test_a_lock_that_is_refused_again_and_again_is_a_conflict(
    counts: tuple[int, ...], told: int
) -> None:
    story = Story()
    worker = lock_refusals(story, *counts)
    (record,) = story.events(sc.EVENT_PROCESS_CALL_FAILED)
    found = attributes(record)
    assert found[sc.PROCESS_CALL_FAILURES] == told
    assert (found[sc.PROCESS_CALL_OBJECT], found[sc.PROCESS_CALL_LOCK_HOLDER_PID]) == (
        "/data/db",
        77,
    )
    story.exit(worker, 1)
    assert len(story.events(sc.EVENT_PROCESS_CALL_FAILED)) == 1  # it is not told again


def test_a_lock_that_is_asked_for_a_few_times_is_told_only_of_a_process_that_fails() -> None:
    for code in (0, 1):
        story = Story()
        worker = lock_refusals(story, 1, 5)
        assert story.events(sc.EVENT_PROCESS_CALL_FAILED) == []
        story.exit(worker, code)
        assert len(story.events(sc.EVENT_PROCESS_CALL_FAILED)) == code


def test_a_search_along_the_path_is_no_failure() -> None:
    story = Story()
    worker = story.task("extract")
    failing(
        story,
        worker,
        errno.ENOENT,
        CallKind.EXEC,
        subject=SubjectKind.PATH_ASKED,
        path="/usr/local/bin/dbt",
    )
    story.exec(worker, "dbt")
    story.exit(worker, 1)
    assert story.events(sc.EVENT_PROCESS_CALL_FAILED) == []


def test_a_count_that_begins_again_after_an_exec_takes_nothing_from_the_metric() -> None:
    story = Story()
    worker = story.task("extract")
    for count in (1, 16, 256, 16):
        failing(story, worker, errno.ENOENT, CallKind.EXEC, count)
    (metric,) = [
        m for m in story.core.metrics() if m.name == sc.METRIC_PIPELINE_TASK_FAILED_CALLS[0]
    ]
    assert [point.value for point in metric.points] == [256 + 15]


def test_a_command_that_is_not_there_is_told_by_its_path() -> None:
    story = Story()
    worker = story.task("extract")
    failing(
        story, worker, errno.ENOENT, CallKind.EXEC, subject=SubjectKind.PATH_ASKED, path="/opt/dbt"
    )
    story.exit(worker, 127)
    (record,) = story.events(sc.EVENT_PROCESS_CALL_FAILED)
    assert attributes(record)[sc.PROCESS_CALL_OBJECT] == "/opt/dbt"
