"""The cause card proc.exec_refused."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import CallFailed, CallKind, HeldObject
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.refusals import holder_culprit
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    ends,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name
from receiver.units import SECOND

# Errors of exec that the program file itself does not explain.
_EXEC = {
    errno.ETXTBSY: "it was open for writing",
    errno.E2BIG: "its arguments and environment are too long",
    errno.ELOOP: "its path has too many symbolic links",
    errno.ENAMETOOLONG: "its path is too long",
    errno.ENOTDIR: "a part of its path is no directory",
    errno.ELIBBAD: "its interpreter is damaged",
    errno.EPERM: "the kernel does not permit it",
    errno.EAGAIN: "the user has too many processes (RLIMIT_NPROC)",
    errno.ENOMEM: "there was no memory for it",
    errno.EMFILE: "no file descriptor was free",
    errno.EIO: "its file could not be read",
}


def exec_refused(case: Case) -> Iterator[Candidate]:
    """Finds a failed exec that no later exec made good, for a reason beside the program file."""
    for actor in case:
        calls = [
            c
            for c in actor.calls
            if c.call == CallKind.EXEC and c.error in _EXEC and c.last_boottime_ns > actor.exec_ns
        ]
        if calls and actor.failed and not actor.end.signal:
            call = max(calls, key=lambda c: c.last_boottime_ns)
            if actor.end_ns - call.last_boottime_ns < SECOND:
                yield _exec_refused(case, actor, call)


def _exec_refused(case: Case, actor: ProcessSnapshot, call: CallFailed) -> Candidate:
    what = subject_of(call)
    error = error_name(call.error)
    why = _EXEC[call.error]
    text = f"exec of {what or 'a program'} failed with {error}: {why}."
    evidence = [
        supports("proc.exec_refused.failed", CLEAR + SLIGHT, text, facts(call)),
        supports(
            "proc.exec_refused.then_ended",
            SOME,
            f"{actor.who} then {actor.end.words}.",
            ends(actor),
        ),
    ]
    culprit = Culprit(type="file", path=what)
    summary = f"{actor.who} could not start {what or 'a program'} ({error}): {why}"
    remedy = ""
    holders = [h for h in actor.holders if h.held == HeldObject.TEXT and h.path == what]
    if call.error == errno.ETXTBSY and holders:
        culprit, who = holder_culprit(case, holders[0], what)
        text = f"{who} had {what} open for writing at that moment."
        evidence.append(
            supports("proc.exec_refused.open_for_writing", STRONG, text, facts(*holders[:2]))
        )
        summary += f" by {who}"
        remedy = f"Let {who} close {what} before it is executed, or open it with O_CLOEXEC."
    return Candidate(
        cause="proc.exec_refused",
        culprit=culprit,
        summary=f"{summary}.",
        remedy=remedy,
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=call.first_boottime_ns,
    )


CARD = cause_class(
    name="proc.exec_refused",
    title="the kernel refused to execute a program",
    predicts="an exec that failed for another reason than its file",
    rivals="proc.interpreter fs.eacces lim.pids",
    tag="close_before_exec",
    fix=(
        "ETXTBSY: close the file before it is executed, and open it with O_CLOEXEC, so that "
        "no child keeps it open. E2BIG: pass long lists by a file or standard input."
    ),
    needs="call_failed",
    brings=(to("proc.interpreter", Via.ANCESTOR),),
    find=(exec_refused,),
)
