"""Renames, idioms of writers, and files that two tasks share."""

from __future__ import annotations

import errno

import pytest

from receiver import semconv as sc
from receiver.attribution.declared import DECLARED
from receiver.events import (
    FileChanged,
    FileOperation,
)
from receiver.facts.versions import VersionState
from receiver.text.names import resolve
from tests.builders import Story, attributes
from tests.lineage.writers import OUT, state, taints


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
