"""Which file is whole, and who reads what somebody left half done:
stories that fire, and near misses that must not."""

from __future__ import annotations

import errno
import os

import pytest

from receiver import semconv as sc
from receiver.attribution.declared import DECLARED
from receiver.events import (
    CallFailed,
    CallKind,
    ClosedFlag,
    FileChanged,
    FileOperation,
    ProcessKey,
    SubjectKind,
)
from receiver.facts import versions
from receiver.facts.versions import VersionState
from receiver.text.names import resolve
from tests.builders import Story, attributes

OUT = os.O_WRONLY | os.O_CREAT


def taints(story: Story) -> list[tuple[object, object]]:
    return [
        (attributes(r)[sc.FILE_TAINT_KIND], attributes(r)[sc.FILE_PATH])
        for r in story.events(sc.EVENT_FILE_TAINTED_READ)
    ]


def state(story: Story, inode: int = 7) -> VersionState:
    version = story.core.facts.versions.get((1, inode))
    assert version is not None
    return version.state


def killed_mid_write(story: Story, task: ProcessKey, path: str = "/data/out") -> None:
    opened = story.opens(task, path, OUT)
    story.open_file(task, path, inode=7, device=1, signal=9)
    story.closes(task, opened, written=4096, closed_flags=ClosedFlag.BY_DEATH)
    story.exit(task, signal=9)


def test_a_reader_of_a_torn_file_is_told_with_its_writer() -> None:
    story = Story()
    writer = story.task("transform")
    killed_mid_write(story, writer)
    assert state(story) is VersionState.PARTIAL
    reader = story.task("check")
    story.reads(reader, "/data/out", size=4096)
    (record,) = story.events(sc.EVENT_FILE_TAINTED_READ)
    found = attributes(record)
    assert found[sc.FILE_TAINT_KIND] == "partial"
    assert found[sc.FILE_TAINT_WRITER_PID] == writer.tgid
    assert found[sc.FILE_TAINT_WRITER_TASK_NAME] == "transform"
    assert record.severity == 17


def test_reading_from_another_task_links_to_it() -> None:
    story = Story()
    writer = story.task("extract")
    story.writes(writer, "/data/out")
    story.exit(writer)
    reader = story.task("load")
    story.reads(reader, "/data/out")
    story.writes(reader, "/data/final", inode=8)
    story.exit(reader)
    story.tick(10)
    source, target = story.span("task extract"), story.span("task load")
    assert [(link.span_id, link.attributes) for link in target.links] == [
        (source.span_id, ((sc.PIPELINE_LINK_TYPE, "reads_from"),))
    ]
    assert attributes(target)[sc.PIPELINE_TASK_INPUTS] == ("/data/out",)
    assert attributes(target)[sc.PIPELINE_TASK_OUTPUTS] == ("/data/final",)
    assert taints(story) == []


def test_reading_what_another_task_is_still_writing() -> None:
    story = Story()
    writer, reader = story.task("extract"), story.task("load")
    story.opens(writer, "/data/out", OUT)
    story.reads(reader, "/data/out")
    assert taints(story) == [("in_progress", "/data/out")]


@pytest.mark.parametrize("path", ["/data/task.log", "/data/db.wal"])
def test_following_a_log_is_no_taint(path: str) -> None:
    story = Story()
    writer, reader = story.task("extract"), story.task("load")
    story.opens(writer, path, OUT)
    story.reads(reader, path)
    assert taints(story) == []


def test_a_task_may_read_its_own_unfinished_file() -> None:
    story = Story()
    writer = story.task("extract")
    story.opens(writer, "/data/out", OUT)
    child = story.spawn(writer, "tail")
    story.reads(child, "/data/out")
    assert taints(story) == []


def test_writing_anew_heals_a_torn_file() -> None:
    story = Story()
    killed_mid_write(story, story.task("transform"))
    again = story.task("transform", run="r2")
    story.writes(again, "/data/out")
    story.exit(again)
    story.reads(story.task("check", run="r2"), "/data/out")
    assert taints(story) == []
    assert state(story) is VersionState.COMPLETE


def test_an_older_runs_output_is_stale_when_this_run_wrote_elsewhere() -> None:
    story = Story()
    first = story.task("extract")
    story.writes(first, "/data/latest")
    story.exit(first)
    second = story.task("extract", run="r2")
    story.writes(second, "/data/other", inode=8)
    story.exit(second)
    story.tick(6)
    story.reads(story.task("load", run="r2"), "/data/latest")
    assert taints(story) == [("stale", "/data/latest")]


def test_an_older_runs_output_is_ordinary_while_its_task_has_not_run_again() -> None:
    story = Story()
    first = story.task("extract")
    story.writes(first, "/data/latest")
    story.exit(first)
    story.reads(story.task("load", run="r2"), "/data/latest")
    assert taints(story) == []


def test_a_rename_is_the_commit() -> None:
    story = Story()
    writer = story.task("extract")
    story.writes(writer, "/data/out.tmp")
    story.renames(writer, "/data/out.tmp", "/data/out")
    story.exit(writer)
    version = story.core.facts.versions.at("/data/out")
    assert version is not None and (version.commit, version.state) == (
        "rename",
        VersionState.COMPLETE,
    )
    story.tick(10)
    assert attributes(story.span("task extract"))[sc.PIPELINE_TASK_OUTPUTS] == ("/data/out",)


def test_a_directory_takes_its_files_along() -> None:
    story = Story()
    writer = story.task("write")
    story.writes(writer, "/out/_temporary/0/task_1/part-0.parquet")
    story.renames(writer, "/out/_temporary/0/task_1", "/out/date=1")
    version = story.core.facts.versions.at("/out/date=1/part-0.parquet")
    assert version is not None and version.commit == "spark"


@pytest.mark.parametrize(
    ("old", "new", "how"),
    [
        ("/o/_temporary/0/x", "/o/x", "spark"),
        ("/o/tmp_dev.duckdb", "/o/dev.duckdb", "duckdb"),
        ("/o/out-luigi-tmp-123", "/o/out", "luigi"),
        ("/o/a", "/o/b", "rename"),
    ],
)
def test_idioms(old: str, new: str, how: str) -> None:
    assert DECLARED.committer(old, new) == how


def test_relative_names_are_joined() -> None:
    assert resolve("/a/b", "../c") == "/a/c"
    assert resolve("/a/b", "/x") == "/x"


def test_two_tasks_that_write_one_file() -> None:
    story = Story()
    first, second = story.task("left"), story.task("right")
    story.opens(first, "/data/out", OUT)
    story.opens(second, "/data/out", OUT, size=10)
    (record,) = story.events(sc.EVENT_FILE_CONFLICT)
    assert attributes(record)[sc.FILE_CONFLICT_KIND] == "concurrent_writers"
    assert attributes(record)[sc.FILE_CONFLICT_PID] == first.tgid


def test_one_after_the_other_is_no_conflict() -> None:
    story = Story()
    first, second = story.task("left"), story.task("right")
    story.writes(first, "/data/out")
    story.writes(second, "/data/out")
    assert story.events(sc.EVENT_FILE_CONFLICT) == []


@pytest.mark.parametrize("what", ["deletes", "replaces"])
def test_a_file_pulled_away_from_its_reader(what: str) -> None:
    story = Story()
    writer = story.task("extract")
    story.writes(writer, "/data/out")
    story.exit(writer)
    reader, cleaner = story.task("load"), story.task("clean")
    story.opens(reader, "/data/out", size=100)
    if what == "deletes":
        story.fact(FileChanged, cleaner, operation=FileOperation.UNLINK, path="/data/out")
    else:
        story.writes(cleaner, "/data/new", inode=9)
        story.renames(cleaner, "/data/new", "/data/out")
    (record,) = story.events(sc.EVENT_FILE_CONFLICT)
    assert attributes(record)[sc.FILE_CONFLICT_KIND] == what
    assert attributes(record)[sc.FILE_CONFLICT_PID] == reader.tgid


def test_a_write_without_room_is_a_partial_write() -> None:
    story = Story()
    writer = story.task("extract")
    opened = story.opens(writer, "/data/out", OUT)
    story.closes(writer, opened, written=100, write_error=errno.ENOSPC)
    (record,) = story.events(sc.EVENT_FILE_PARTIAL_WRITE)
    assert attributes(record)[sc.FILE_WRITE_CAUSE] == "enospc"
    assert state(story) is VersionState.PARTIAL


def test_a_file_closed_before_its_writer_died_is_whole() -> None:
    story = Story()
    writer = story.task("extract")
    story.writes(writer, "/data/out")
    story.exit(writer, signal=9)
    assert state(story) is VersionState.COMPLETE
    story.reads(story.task("load"), "/data/out")
    assert taints(story) == []


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


def test_the_table_of_files_is_bounded_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "VERSIONS", 50)
    story = Story()
    for batch in range(20):
        worker = story.task("extract", run=f"r{batch}")
        for number in range(20):
            story.writes(worker, f"/data/{batch}-{number}", inode=100 + batch * 20 + number)
        story.exit(worker)
    table = story.core.facts.versions
    assert len(table) == 50 and len(table._by_path) == 50
    assert table.drops["forgotten_file"] == 350
    assert story.core.activity.drops()["forgotten_file"] == 350


def test_an_older_runs_output_is_no_surprise_when_its_task_failed_in_this_run() -> None:
    """The failure is what is wrong then, and it has a finding of its own."""
    for failed in (False, True):
        story = Story()
        old = story.task("extract", run="r1")
        story.writes(old, "/data/day1.csv")
        story.exit(old)
        story.tick(7)
        again = story.task("extract", run="r2")
        story.exit(again, 3 if failed else 0)
        story.tick(7)
        reader = story.task("load", run="r2")
        story.reads(reader, "/data/day1.csv")
        expected = [] if failed else [("stale", "/data/day1.csv")]
        assert taints(story) == expected


def test_a_task_may_read_what_the_process_that_started_it_is_still_writing() -> None:
    """A driver hands its open file down. Somebody else who reads that file is told."""
    for below in (True, False):
        story = Story()
        driver = story.task("drive")
        story.opens(driver, "/data/plan.json", OUT)
        reader = story.task("step", parent=driver) if below else story.task("step")
        story.opens(reader, "/data/plan.json", size=10)
        assert taints(story) == ([] if below else [("in_progress", "/data/plan.json")])


def test_what_is_read_in_several_openings_is_read_together() -> None:
    story = Story()
    reader = story.task("load")
    for size in (100, 30):
        story.reads(reader, "/data/in.csv", inode=9, size=size)
    process = story.core.tree.get(reader)
    assert process is not None
    use = story.core.facts.files.of(process.key).uses[(1, 9)]
    assert (use.read_bytes, use.read_calls, use.open) == (130, 2, 0)


def test_an_empty_file_that_a_writer_has_open_is_still_that_writers() -> None:
    """A second opening before the first byte begins no new version;
    one after the first writer is gone does."""
    for gone in (False, True):
        story = Story()
        first, second = story.task("extract"), story.task("load")
        opened = story.opens(first, "/data/out", OUT)
        if gone:
            story.closes(first, opened, written=5)
        story.opens(second, "/data/out", OUT)
        version = story.core.facts.versions.get((1, 7))
        assert version is not None and version.writer.key == (second if gone else first)
