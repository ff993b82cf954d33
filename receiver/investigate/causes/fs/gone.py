"""The cause card fs.gone."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import CallKind, SubjectKind
from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.last_calls import last_calls
from receiver.investigate.causes.refusals import refused_call
from receiver.investigate.evidence import (
    SOME,
    Candidate,
)

_GONE = {
    errno.ESTALE: "its file handle is stale: the server does not know the file any more",
    errno.ENODEV: "there is no such device",
    errno.ENOTCONN: "the process behind its file system is gone",
    errno.EIO: "the device did not do what was asked",
}


def gone(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because a device or a mount did not answer any more."""
    kinds = (CallKind.OPEN, CallKind.READ, CallKind.WRITE, CallKind.SYNC, CallKind.CHANGE)
    for actor, last in last_calls(case, _GONE):
        if last.call.call not in (*kinds, CallKind.ASK, CallKind.ENTER):
            continue
        if last.call.subject == SubjectKind.ENDPOINT or not last.call.path:
            continue
        yield refused_call(actor, last, "fs.gone", _GONE[last.call.error], SOME)


CARD = cause_class(
    name="fs.gone",
    title="a device or a mount was gone",
    predicts="ESTALE, ENODEV, ENOTCONN or EIO in the last call that failed",
    rivals="fs.slow_io fs.path_missing fs.netfs",
    tag="restore_mount",
    fix="Check the device, its mount and the file server; mount it again, then run the step.",
    needs="last_failure",
    find=(gone,),
)
