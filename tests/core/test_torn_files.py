"""Files that a killed writer leaves behind."""

from __future__ import annotations

import os
import signal

import pytest

from receiver.events import FileFlag, FileReason, ProcessKey
from tests.builders import Story, attributes


def test_a_file_open_for_writing_at_a_killed_writers_death_is_a_partial_write() -> None:
    story = Story()
    root = story.command("bash")
    writer = story.spawn(root, "python3", "export.py")
    story.signal(root, writer, signal.SIGTERM)
    story.open_file(writer, "/data/out.csv", size_bytes=8192, position_bytes=8192)
    story.exit(writer, signal=15)
    facts = attributes(story.events("file.partial_write")[0])
    assert facts["file.path"] == "/data/out.csv"
    assert (facts["file.size"], facts["file.write.bytes"], facts["file.inode"]) == (
        8192,
        8192,
        "42",
    )
    assert facts["file.write.cause"] == "killed"


@pytest.mark.parametrize(
    "other",
    [
        {"open_flags": os.O_WRONLY | os.O_APPEND},
        {"file_flags": FileFlag.DELETED},
        {"file_flags": FileFlag.INHERITED_STDIO},
        {"file_flags": FileFlag.SHARES_STDERR},
        {"open_flags": os.O_RDWR, "position_bytes": 0},
        {"path": "/run/job.pid"},
    ],
)
def test_logs_locks_and_databases_are_no_torn_outputs(other: dict[str, object]) -> None:
    story = Story()
    root = story.command("python3")
    story.open_file(root, **({"path": "/data/file"} | other))  # type: ignore[arg-type]
    story.exit(root, signal=9)
    assert not story.events("file.partial_write")


@pytest.mark.parametrize("wrote", [0, 4096])
def test_only_who_wrote_leaves_a_torn_file(wrote: int) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    worker = story.spawn(root, "python3", "load.py")
    story.signal(ProcessKey(50, 9), worker, signal.SIGKILL)
    story.open_file(worker, "/data/out.csv", signal=9)
    story.exit(worker, signal=9, write_call_bytes=wrote)
    assert len(story.events("file.partial_write")) == bool(wrote)


def test_a_writer_told_to_end_that_then_fails_leaves_a_partial_write() -> None:
    story = Story()
    root = story.command("dbt")
    story.signal(ProcessKey(50, 9), root, signal.SIGTERM, handled=1)
    story.open_file(root, "/data/model.csv", reason=FileReason.SIGNAL, signal=15)
    story.exit(root, 1)
    record = story.events("file.partial_write")[0]
    assert attributes(record)["file.write.cause"] == "terminated"
    assert attributes(record)["pipeline.log.origin"] == "inferred"


def test_a_writer_told_to_end_that_then_succeeds_leaves_a_whole_file() -> None:
    story = Story()
    root = story.command("dbt")
    story.signal(ProcessKey(50, 9), root, signal.SIGTERM, handled=1)
    story.open_file(root, "/data/model.csv", reason=FileReason.SIGNAL, signal=15)
    story.exit(root, 0)
    assert not story.events("file.partial_write")
