"""SIGBUS, told by what was mapped at the address."""

from __future__ import annotations

import os
import signal

import pytest

from receiver.events import Fault, FileChanged, FileOperation, MappingKind, ProcessKey
from receiver.investigate.report import Hypothesis
from tests.builders import Story
from tests.investigate.telling import report_of

PATH = "/data/table.col"


def faulted(
    story: Story, key: ProcessKey, *, offset: int, size: int, kind: int = MappingKind.FILE
) -> None:
    path = "/dev/shm/table.col" if kind == MappingKind.MEMORY else PATH
    story.signal(key, key, signal.SIGBUS, code=2)
    story.fact(
        Fault,
        key,
        address=0x7F0000000000,
        offset_bytes=offset,
        size_bytes=size,
        inode=7,
        device=1,
        signal=signal.SIGBUS,
        code=2,
        mapping_kind=kind,
        path=path,
    )
    story.exit(key, signal=signal.SIGBUS)


def lead(story: Story) -> Hypothesis:
    return report_of(story).hypotheses[0]


def test_a_process_that_cuts_what_it_has_mapped_is_its_own_culprit() -> None:
    story = Story()
    step = story.command("python3", "snapshot.py")
    story.writes(step, PATH, size=4_000_000)
    story.opens(step, PATH, size=4_000_000)
    story.step(10)
    cutting = story.opens(step, PATH, os.O_WRONLY)
    story.step(10)
    faulted(story, step, offset=2_000_000, size=0)
    story.closes(step, cutting)
    found = lead(story)
    assert (found.cause, found.culprit.name, found.culprit.path) == (
        "fs.replaced",
        "snapshot.py",
        PATH,
    )
    assert "which it had mapped itself" in found.summary
    assert not any("No event shows a SIGBUS" in r.because for r in found.ruled_out)


@pytest.mark.parametrize("by_call", [True, False])
def test_another_process_that_cut_the_file_is_named(by_call: bool) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    reader = story.spawn(root, "python3", "read.py")
    story.opens(reader, PATH, size=4_000_000)
    rotate = story.spawn(root, "rotate")
    if by_call:
        story.fact(FileChanged, rotate, operation=FileOperation.TRUNCATE, path=PATH)
    else:
        story.closes(rotate, story.opens(rotate, PATH, os.O_WRONLY), size=0)
    story.exit(rotate)
    faulted(story, reader, offset=2_000_000, size=0)
    story.exit(root, 135)
    found = lead(story)
    assert (found.cause, found.culprit.name) == ("fs.replaced", "rotate")


def test_the_writer_of_a_file_that_a_stranger_cut_is_not_blamed() -> None:
    """It left the file longer than it was at the fault."""
    story = Story()
    root = story.command("bash", "job.sh")
    writer = story.spawn(root, "python3", "write.py")
    story.writes(writer, PATH, size=4_000_000)
    story.exit(writer)
    reader = story.spawn(root, "python3", "read.py")
    story.opens(reader, PATH, size=4_000_000)
    faulted(story, reader, offset=2_000_000, size=10)
    story.exit(root, 135)
    found = lead(story)
    assert (found.cause, found.culprit.type, found.culprit.path) == ("fs.replaced", "file", PATH)
    assert "No event of this run shows which process made the file shorter." in [
        w.text for w in found.weighed
    ]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [(MappingKind.MEMORY, "mem.shm_full"), (MappingKind.FILE, "fs.unreadable")],
)
def test_a_page_inside_of_the_file_was_not_cut(kind: MappingKind, cause: str) -> None:
    story = Story()
    step = story.command("python3", "step.py")
    faulted(story, step, offset=100, size=8192, kind=kind)
    found = lead(story)
    assert found.cause == cause
    assert ("/dev/shm was full" in found.summary) is (kind == MappingKind.MEMORY)
