"""Findings about files that a writer left half written."""

from __future__ import annotations

import os
import signal as signals

from receiver import semconv as sc
from receiver.detect.file_names import BOOKKEEPING
from receiver.events import Exit, FileFlag, FileReason, OpenFile
from receiver.facts.ending import Ending
from receiver.model import POLITE, Finding
from receiver.signals import Severity
from receiver.text.names import event_id
from receiver.work.tables import Facts
from receiver.work.worker import Worker

_HIDDEN = FileFlag.DELETED | FileFlag.INHERITED_STDIO | FileFlag.SHARES_STDERR


def partial_writes(process: Worker, end: Ending, facts: Facts) -> list[Finding]:
    """One finding for each file that was open for writing when the process was killed, or when it
    failed after a SIGTERM.

    Not counted as outputs: append-mode files and files shared with stderr (logs), the parent's own
    stdout (the script's log), files without a name, lock files, and databases (opened read-write
    and written by offset, so the position stays 0).
    """
    open_files = facts.deaths.of(process.key).open_files
    told = any(f.reason == FileReason.SIGNAL for f in open_files) or any(
        s.signal in POLITE for s in facts.signals.of(process.key)
    )
    if (
        process.exit is None
        or end.expected_shutdown
        or end.signal == signals.SIGPIPE
        or not (end.signal or (end.failed and told))
    ):
        return []
    cause = "oom_killed" if end.cause == "oom_killed" else "killed" if end.signal else "terminated"
    return [_finding(process, f, cause) for f in unfinished_outputs(process, end, open_files)]


def unfinished_outputs(
    process: Worker, end: Ending, open_files: tuple[OpenFile, ...]
) -> list[OpenFile]:
    """Outputs that a failed process still had open for writing, whether or not a signal asked it to
    stop.
    """
    if process.exit is None or end.signal == signals.SIGPIPE or not end.failed:
        return []
    latest: dict[tuple[int, int], OpenFile] = {}
    for event in open_files:  # read at the signal, then at death: the later reading counts
        latest[(event.device, event.inode)] = event
    return [f for f in latest.values() if is_output(f, process.exit)]


def is_output(event: OpenFile, end: Exit) -> bool:
    """Whether the process was writing the file, as far as its own counters show.

    The position belongs to the open file description, which a parent or a child may share: a
    process that wrote no byte has moved no position.
    """
    if (
        not end.write_call_bytes
        or event.file_flags & _HIDDEN
        or event.open_flags & os.O_APPEND
        or event.path.endswith(BOOKKEEPING)
    ):
        return False
    return not (event.open_flags & os.O_ACCMODE == os.O_RDWR and event.position_bytes == 0)


def _finding(process: Worker, event: OpenFile, cause: str) -> Finding:
    assert process.exit is not None
    how = {
        "oom_killed": "was OOM-killed",
        "killed": "was killed",
        "terminated": ("received a request to end"),
    }[cause]
    failed = " and then failed" if cause == "terminated" else ""
    sentence = (
        f"{process.name} ({process.key.tgid}) {how} while it was writing "
        f"{event.path}{failed}: the file has {event.size_bytes} bytes, and the writer was "
        f"at byte {event.position_bytes}."
    )
    facts = (
        (sc.FILE_PARTIAL_WRITE, True),
        (sc.FILE_PATH, event.path),
        (sc.FILE_INODE, str(event.inode)),
        (sc.FILE_SIZE, event.size_bytes),
        (sc.FILE_WRITE_BYTES, event.position_bytes),
        (sc.FILE_WRITE_CAUSE, cause),
    )
    return Finding(
        kind=sc.EVENT_FILE_PARTIAL_WRITE,
        process=process.key,
        time_boottime_ns=process.exit.time_boottime_ns,
        sentence=sentence,
        facts=facts,
        severity=Severity.ERROR,
        evidence=(event_id(event), event_id(process.exit)),
        origin="kernel" if event.reason == FileReason.DEATH else "inferred",
    )
