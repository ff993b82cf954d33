"""Findings about the files that one process reads from another: torn, unfinished, stale or vanished
inputs, and double writers.
"""

from __future__ import annotations

from receiver import semconv as sc
from receiver.detect.file_names import LOGS
from receiver.events import FileChanged, FileClosed, FileOpened
from receiver.facts.process import Process
from receiver.facts.versions import VersionState
from receiver.model import Finding
from receiver.signals import Severity
from receiver.text.names import end_phrase, event_id
from receiver.work.execution import Execution
from receiver.work.tables import Use, Version
from receiver.work.worker import Worker

_FAILED_WRITES = {5: "eio", 28: "enospc", 122: "edquot", 27: "efbig"}


def tainted_read(process: Worker, use: Use, version: Version, event: FileOpened) -> Finding | None:
    """The reader gets other content than a finished writer would leave.

    Called when it opens the file.
    """
    kind = _taint(process, use, version)
    if not kind:
        return None
    what = {
        "partial": f"which {_who(version)} left incomplete: it {end_phrase(version.cause)}",
        "in_progress": f"which {_who(version)} is still writing",
        "stale": (
            f"which {_who(version)} wrote in an older run: this run wrote another file, or "
            "did not write it"
        ),
    }[kind]
    age = max(0, event.time_boottime_ns - (version.changed_ns or version.began_ns)) / 1e9
    facts: list[tuple[str, str | int | float | bool]] = [
        (sc.FILE_PATH, use.path),
        (sc.FILE_INODE, str(use.key[1])),
        (sc.FILE_SIZE, event.size_bytes),
        (sc.FILE_TAINT_KIND, kind),
        (sc.FILE_TAINT_WRITER_PID, version.writer.key.tgid),
        (sc.FILE_TAINT_AGE, age),
    ]
    if version.work is not None:
        facts += [
            (sc.FILE_TAINT_WRITER_TASK_NAME, version.work.identity.task),
            (sc.FILE_TAINT_TRACE_ID, version.work.trace_id.hex()),
        ]
    return Finding(
        kind=sc.EVENT_FILE_TAINTED_READ,
        process=process.key,
        time_boottime_ns=event.time_boottime_ns,
        sentence=f"{process.name} ({process.key.tgid}) read {use.path}, {what}.",
        facts=tuple(facts),
        severity=Severity.ERROR if kind == "partial" else Severity.WARN,
        evidence=(version.evidence, event_id(event)),
        origin="inferred" if kind == "stale" else "kernel",
    )


def _taint(process: Worker, use: Use, version: Version) -> str:
    """partial, in_progress or stale; empty when the content is as expected."""
    if version.state is VersionState.PARTIAL and not use.writing:
        return "partial"
    foreign = version.work is not None and not version.work.is_part_of(process.execution)
    if not foreign or use.writing or use.append or use.path.endswith(LOGS):
        return ""
    if (
        version.state is VersionState.IN_PROGRESS
        and version.writers
        and version.writer not in process.ancestors()
    ):
        return "in_progress"
    return "stale" if _is_stale(process.execution, version) else ""


def _is_stale(reader: Execution | None, version: Version) -> bool:
    """The writing task has also run in the reader's run and ended well, but it wrote this file only
    in another run.
    """
    if reader is None or version.work is None or version.state is not VersionState.COMPLETE:
        return False
    writer = version.work.identity
    if writer.pipeline != reader.identity.pipeline or writer.run_id == reader.identity.run_id:
        return False
    return reader.run.failed.get((writer.task, writer.map_index)) is False


def _who(version: Version) -> str:
    task = f" of task {version.work.identity.task}" if version.work is not None else ""
    return f"{version.writer.name} ({version.writer.key.tgid}){task}"


def two_writers(process: Worker, version: Version, event: FileOpened) -> Finding | None:
    """Two tasks have one file open for writing at the same time.

    Appending to a shared log does not count.
    """
    other = version.writer
    if other is process or not version.writers - {(process.key, event.open_id)}:
        return None
    if (
        version.work is None
        or version.work.is_part_of(process.execution)
        or event.path.endswith(LOGS)
    ):
        return None
    sentence = (
        f"{process.name} ({process.key.tgid}) opened {event.path} for writing while "
        f"{_who(version)} also had it open for writing."
    )
    return _conflict(
        process,
        version,
        event,
        kind="concurrent_writers",
        path=event.path,
        other=other,
        sentence=sentence,
    )


def pulled_away(
    process: Worker, version: Version, event: FileChanged, what: str, readers: list[Worker]
) -> Finding | None:
    """The file is deleted or replaced while a process of another task has it open for reading."""
    readers = [
        r
        for r in readers
        if r.execution is not None and not r.execution.is_part_of(process.execution)
    ]
    if not readers:
        return None
    reader = readers[0]
    sentence = (
        f"{process.name} ({process.key.tgid}) {what} {version.path} while {reader.name} "
        f"({reader.key.tgid}) of task "
        f"{reader.execution.identity.task if reader.execution else '?'} had it open for "
        "reading."
    )
    return _conflict(
        process, version, event, kind=what, path=version.path, other=reader, sentence=sentence
    )


def _conflict(
    process: Worker,
    version: Version,
    event: FileOpened | FileChanged,
    *,
    kind: str,
    path: str,
    other: Process,
    sentence: str,
) -> Finding:
    facts = (
        (sc.FILE_PATH, path),
        (sc.FILE_INODE, str(version.key[1])),
        (sc.FILE_CONFLICT_KIND, kind),
        (sc.FILE_CONFLICT_PID, other.key.tgid),
    )
    evidence = (version.evidence, event_id(event))
    return Finding(
        kind=sc.EVENT_FILE_CONFLICT,
        process=process.key,
        time_boottime_ns=event.time_boottime_ns,
        sentence=sentence,
        facts=facts,
        severity=Severity.WARN,
        evidence=evidence,
    )


def failed_write(process: Worker, use: Use, event: FileClosed) -> Finding | None:
    """A write or a sync failed with no space left or an I/O error, so the file is not complete."""
    cause = _FAILED_WRITES.get(event.write_error)
    if cause is None:
        return None
    sentence = (
        f"{process.name} ({process.key.tgid}) could not write all of {use.path} "
        f"({cause.upper()}): the file has {event.size_bytes} bytes, of which "
        f"{event.written_bytes} were written."
    )
    facts = (
        (sc.FILE_PARTIAL_WRITE, True),
        (sc.FILE_PATH, use.path),
        (sc.FILE_INODE, str(event.inode)),
        (sc.FILE_SIZE, event.size_bytes),
        (sc.FILE_WRITE_BYTES, event.written_bytes),
        (sc.FILE_WRITE_CAUSE, cause),
    )
    return Finding(
        kind=sc.EVENT_FILE_PARTIAL_WRITE,
        process=process.key,
        time_boottime_ns=event.time_boottime_ns,
        sentence=sentence,
        facts=facts,
        severity=Severity.ERROR,
        evidence=(event_id(event),),
    )
