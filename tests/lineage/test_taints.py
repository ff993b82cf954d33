"""Who reads what somebody left half done: torn, unfinished and stale files."""

from __future__ import annotations

import pytest

from receiver import semconv as sc
from receiver.events import (
    ClosedFlag,
    ProcessKey,
)
from receiver.facts import versions
from receiver.facts.versions import VersionState
from tests.builders import Story, attributes
from tests.lineage.writers import OUT, state, taints


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


@pytest.mark.parametrize(("now", "same"), [(9, True), (8, False), (0, True)])
def test_an_inode_number_that_is_used_again_is_another_file(now: int, same: bool) -> None:
    """Nobody saw the removal. A file system without generations has 0."""
    story = Story()
    writer = story.task("extract")
    story.closes(writer, story.opens(writer, "/d/a", OUT, generation=9), written=100, size=100)
    reader = story.task("load", run="r2")
    story.opens(reader, "/d/b", size=100, generation=now)
    (process,) = [p for p in story.core.tree.processes() if p.key == reader]
    assert process.execution is not None
    assert bool(process.execution.reads_from) is same
