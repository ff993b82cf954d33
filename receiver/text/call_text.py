"""Texts about calls that failed, and about who had what they asked for."""

from __future__ import annotations

from receiver.calls import call_name
from receiver.events import CallFailed, HeldObject, Holder, LastFailure, SubjectKind
from receiver.text.names import address_of, error_name, resolve
from receiver.units import SECOND


def subject_of(event: CallFailed | LastFailure) -> str:
    """The subject of the call, for people; empty when the BPF program could not read it."""
    if event.subject == SubjectKind.ENDPOINT:
        return f"{address_of(event.family, event.address_high, event.address_low)}:{event.port}"
    if not event.path:
        return ""
    return (
        resolve(event.directory, event.path)
        if event.directory or not event.path.startswith("/")
        else event.path
    )


def call_failed_line(event: CallFailed) -> str:
    call, error = call_name(event.call_number), error_name(event.error)
    return f"fails   {event.process.tgid} {call} {subject_of(event)} {error} ({event.failures}x)"


def last_failure_line(event: LastFailure) -> str:
    call, error = call_name(event.call_number), error_name(event.error)
    before = (event.time_boottime_ns - event.failed_boottime_ns) / SECOND
    what = f"{call} {subject_of(event)} {error}"
    return f"failed  {event.process.tgid} {what}, {before:.3f} s before its end"


def held_by(event: Holder) -> str:
    """What the holder has, for people."""
    match event.held:
        case HeldObject.LOCK | HeldObject.POSIX_LOCK:
            return f"the lock on {event.path or 'a file'}"
        case HeldObject.TEXT:
            return f"{event.path or 'the file'} open for writing"
        case HeldObject.PORT:
            return f"port {event.port}"
        case HeldObject.PIPE_WRITE:
            return "the writing end of the pipe"
    return "the reading end of the pipe"


def holder_line(event: Holder) -> str:
    return (
        f"holds   {event.holder.tgid} ({event.comm}) {held_by(event)}, which "
        f"{event.process.tgid} needs"
    )
