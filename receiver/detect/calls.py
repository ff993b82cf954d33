"""Findings about system calls that failed.

A failure that needs no other evidence is a finding at once. Another failure is one when its process
fails, too.
"""

from __future__ import annotations

import errno

from receiver import semconv as sc
from receiver.calls import call_name
from receiver.events import CallFailed, CallKind, LastFailure, SubjectKind
from receiver.facts.calls import CallTable
from receiver.model import Finding
from receiver.signals import Severity
from receiver.text.call_text import subject_of
from receiver.text.names import error_name, event_id
from receiver.work.worker import Worker

_AT_ONCE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}
# this many refusals of one lock are a conflict; fewer occur when programs poll for a lock
_LOCK_WAITS = 16
_BLAMED = 4  # the number of latest failures that are reported for a process that failed


# each JVM tries the locks of all others there, to remove the files of JVMs that have ended
_OWN_BUSINESS = "/tmp/hsperfdata_"  # noqa: S108


def is_own_business(event: CallFailed | LastFailure) -> bool:
    """Whether a runtime keeps its own files by it, so that it says nothing of the work."""
    return event.path.startswith(_OWN_BUSINESS)


def speaks_for_itself(event: CallFailed) -> bool:
    """Whether the failure is worth a record, whatever the exit status of the process."""
    if is_own_business(event):
        return False
    if event.error in _AT_ONCE:
        return True
    if event.call == CallKind.CLONE:
        return event.error in (errno.EAGAIN, errno.ENOMEM)
    return event.call == CallKind.LOCK and event.failures >= _LOCK_WAITS


def becomes_a_finding(event: CallFailed, known: CallFailed | None) -> bool:
    """Whether this record of a series, which counts all failures so far, is the first one that is
    worth a finding. `known`: the record before it.

    The counts that the kernel half sends are 1, 16, 256 … and the last one. Any of these records
    may be lost, so no count is compared for equality.
    """
    return speaks_for_itself(event) and (known is None or not speaks_for_itself(known))


def call_failed(process: Worker, event: CallFailed) -> Finding:
    name, error, what = call_name(event.call_number), error_name(event.error), subject_of(event)
    times = "" if event.failures == 1 else f", {event.failures} times"
    about = f" on {what}" if what else ""
    facts: list[tuple[str, str | int | float | bool]] = [
        (sc.PROCESS_CALL_NAME, name),
        (sc.PROCESS_CALL_FAILURES, event.failures),
        (sc.ERROR_TYPE, error),
    ]
    if what:
        facts.append((sc.PROCESS_CALL_OBJECT, what))
    holder = ""
    if event.holder.tgid:
        facts.append((sc.PROCESS_CALL_LOCK_HOLDER_PID, event.holder.tgid))
        holder = f"; process {event.holder.tgid} holds the lock"
    return Finding(
        kind=sc.EVENT_PROCESS_CALL_FAILED,
        process=process.key,
        time_boottime_ns=event.last_boottime_ns,
        sentence=(
            f"{process.name} ({process.key.tgid}): {name}{about} failed with "
            f"{error}{times}{holder}."
        ),
        facts=tuple(facts),
        severity=Severity.ERROR if event.error in _AT_ONCE else Severity.WARN,
        evidence=(event_id(event),),
    )


def blamed_calls(process: Worker, calls: CallTable) -> list[Finding]:
    """For a process that failed: its last failures that are not reported yet.

    A failed exec is reported by its path.
    """
    if process.exit is None:
        return []
    waiting = [
        e
        for e in calls.of(process.key)
        if not speaks_for_itself(e) and not _is_reported_elsewhere(e)
    ]
    waiting = [
        e for e in waiting if not is_search(process, e) and not e.path.startswith(_OWN_BUSINESS)
    ]
    waiting.sort(key=lambda e: e.last_boottime_ns)
    return [call_failed(process, event) for event in waiting[-_BLAMED:]]


def is_search(process: Worker, event: CallFailed) -> bool:
    """A failed exec that a later one made good: a step of the search along PATH."""
    return event.call == CallKind.EXEC and event.last_boottime_ns < process.exec_ns


def _is_reported_elsewhere(event: CallFailed) -> bool:
    """Connections have findings of their own. A broken pipe means that the reader is done."""
    return event.error == errno.EPIPE or (
        event.subject == SubjectKind.ENDPOINT and event.error != errno.EADDRINUSE
    )
