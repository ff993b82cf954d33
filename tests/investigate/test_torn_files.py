"""Files that were read before they were whole, and writers that were stopped."""

from __future__ import annotations

import os
import signal

import pytest

from receiver.events import FileReason, ProcessKey
from receiver.investigate.report import to_json
from receiver.units import SECOND
from tests.builders import Story
from tests.investigate.telling import report_of

STRANGER = ProcessKey(666, 5)


def test_the_torn_file_is_blamed_and_not_who_checked_it() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    writer = story.spawn(root, "dbt", "run")
    story.opens(writer, "/data/out.csv", os.O_WRONLY | os.O_CREAT, inode=42)
    story.signal(STRANGER, writer, signal.SIGTERM, comm="drainer")
    story.open_file(writer, "/data/out.csv", signal=15)
    story.exit(writer, signal=signal.SIGTERM)
    checker = story.spawn(root, "python3", "validate.py")
    story.reads(checker, "/data/out.csv", inode=42, size=4096)
    story.exit(checker, 1)
    story.exit(root, 1)
    lead = report_of(story).hypotheses[0]
    assert (lead.cause, lead.culprit.path) == ("fs.truncated", "/data/out.csv")
    assert lead.culprit.sender is not None and lead.culprit.sender.pid == STRANGER.tgid


def test_a_writer_that_reads_its_file_again_was_done_with_writing() -> None:
    """Executors of Spark write parts and read parts; a part of a whole file is all that a reader of
    Parquet takes."""
    story = Story()
    root = story.command("java", "driver")
    writer, reader = (
        story.spawn(root, "java", "executor 0"),
        story.spawn(root, "java", "executor 1"),
    )
    story.writes(writer, "/data/part-0.parquet", inode=42, size=1 << 20)
    again = story.opens(reader, "/data/part-0.parquet", inode=42, size=1 << 20)
    story.closes(reader, again, read=1 << 16, size=1 << 20)
    story.step(3_000)
    late = story.opens(writer, "/data/part-0.parquet", inode=42, size=1 << 20)
    story.closes(writer, late, read=1 << 16, size=1 << 20)
    for each in (reader, writer, root):
        story.exit(each)
    report = report_of(story)
    assert (report.verdict, report.hypotheses) == ("healthy", ())


NOTHING, LINES, BLOCKS = (0, 0), (300, 100), (409_600, 100)  # bytes, calls


@pytest.mark.parametrize(
    ("descriptor", "wrote", "idle_ms", "said"),
    [
        (3, NOTHING, 0, ""),
        (3, LINES, 0, "It was writing /data/out.csv at that moment"),
        (3, LINES, 5_000, "It had not closed /data/out.csv"),
        (1, LINES, 0, ""),  # a server's log
        (1, BLOCKS, 5_000, ""),  # an export that was over
        (1, BLOCKS, 0, "It was writing /data/out.csv at that moment"),
    ],
)
def test_a_signal_stops_a_writer_only_in_the_middle_of_its_output(
    descriptor: int, wrote: tuple[int, int], idle_ms: float, said: str
) -> None:
    """A process that wrote nothing shares the position of the shell's open file. A server that is
    stopped by somebody else, and whose standard output is a file, is not cut short."""
    story = Story()
    root = story.command("bash", "job.sh")
    worker = story.spawn(root, "python3", "load.py")
    number = story.opens(worker, "/data/out.csv", os.O_WRONLY | os.O_CREAT, inode=42)
    last_use_ns = story.now + SECOND // 2
    story.step(500 + idle_ms)
    story.signal(STRANGER, worker, signal.SIGTERM, comm="drainer", handled=1)
    story.open_file(
        worker, "/data/out.csv", reason=FileReason.SIGNAL, signal=15, descriptor=descriptor
    )
    story.closes(
        worker,
        number,
        written=wrote[0],
        write_calls=wrote[1],
        last_use_boottime_ns=last_use_ns if wrote[0] else 0,
    )
    story.exit(worker, 0, write_call_bytes=wrote[0])
    story.exit(root, 0)
    report = report_of(story)
    assert report.verdict == ("incident" if said else "healthy")
    told = to_json(report).decode()
    assert said in told
    assert ("was writing" in told) == ("was writing" in said)
