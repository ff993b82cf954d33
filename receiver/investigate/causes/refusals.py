"""Calls that the kernel refused by a name of its own: exec, ports, inotify, paths, lost devices."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.calls import call_name
from receiver.events import CallFailed, CallKind, HeldObject, Holder, SubjectKind
from receiver.investigate.case import Case
from receiver.investigate.causes.last_calls import LastCall, last_calls
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    ends,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name, times
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
_PATHS = {
    errno.ENAMETOOLONG: "the path or a name in it is too long",
    errno.EXDEV: "the two paths are on different file systems",
    errno.ELOOP: "the path has too many symbolic links",
    errno.EISDIR: "the path is a directory",
}
_GONE = {
    errno.ESTALE: "its file handle is stale: the server does not know the file any more",
    errno.ENODEV: "there is no such device",
    errno.ENXIO: "there is no such device or address",
    errno.ENOTCONN: "the process behind its file system is gone",
    errno.EIO: "the device did not do what was asked",
}
_INOTIFY = {
    errno.ENOSPC: "fs.inotify.max_user_watches",
    errno.EMFILE: "fs.inotify.max_user_instances",
}
_OWN_LIMITS = {
    errno.ENOSPC: "max_inotify_watches",
    errno.EMFILE: "max_inotify_instances",
}


def holder_culprit(case: Case, holder: Holder, path: str = "") -> tuple[Culprit, str]:
    """The process that has what was needed, and its name for a sentence."""
    known = case.get(holder.holder)
    if known is None:
        name = holder.comm
        who = f"{name} ({holder.holder.tgid})"
    else:
        name, who = known.script or known.name, known.who
    culprit = Culprit(
        type="process",
        name=name,
        pid=holder.holder.tgid,
        start_boottime_ns=holder.holder.start_boottime_ns,
        path=path,
    )
    return culprit, who


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
        supports(CLEAR + SLIGHT, text, facts(call)),
        supports(SOME, f"{actor.who} then {actor.end.words}.", ends(actor)),
    ]
    culprit = Culprit(type="file", path=what)
    summary = f"{actor.who} could not start {what or 'a program'} ({error}): {why}"
    remedy = ""
    holders = [h for h in actor.holders if h.held == HeldObject.TEXT and h.path == what]
    if call.error == errno.ETXTBSY and holders:
        culprit, who = holder_culprit(case, holders[0], what)
        text = f"{who} had {what} open for writing at that moment."
        evidence.append(supports(STRONG, text, facts(*holders[:2])))
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


def port_in_use(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because another one had its port."""
    for actor, last in last_calls(case, (errno.EADDRINUSE,)):
        call = last.call
        if call.subject != SubjectKind.ENDPOINT or call.call == CallKind.CONNECT:
            continue
        address = subject_of(call)
        evidence = list(last.shown)
        culprit = Culprit(type="endpoint", address=address)
        summary = f"{actor.who} could not use {address}: the port was in use"
        remedy = ""
        holders = [h for h in actor.holders if h.held == HeldObject.PORT and h.port == call.port]
        if holders:
            culprit, who = holder_culprit(case, holders[0])
            text = f"{who} had a socket on port {call.port} at that moment."
            evidence.append(supports(CLEAR + SOME, text, facts(*holders[:2])))
            summary += f" by {who}"
            remedy = f"End {who}, or give {actor.who} another port than {call.port}."
        yield Candidate(
            cause="net.port_in_use",
            culprit=culprit,
            summary=f"{summary}.",
            remedy=remedy,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=call.failed_boottime_ns,
        )


def inotify(case: Case) -> Iterator[Candidate]:
    """Finds inotify calls that reached a limit of the user, which no disk and no process has."""
    for actor in case:
        calls = [c for c in actor.calls if reaches_inotify_limit(actor, c)]
        if not calls:
            continue
        call = calls[0]
        limit = _INOTIFY[call.error]
        name, error = call_name(call.call_number), error_name(call.error)
        what = subject_of(call)
        about = f" for {what}" if what else ""
        text = f"{name}{about} failed with {error} {times(call.failures)}: the limit {limit}."
        evidence = [supports(CLEAR + SLIGHT, text, facts(*calls[:2]))]
        if actor.failed:
            evidence.append(supports(SOME, f"{actor.who} then {actor.end.words}.", ends(actor)))
        summary = f"{actor.who} reached {limit}: {name}{about} failed with {error}."
        yield Candidate(
            cause="lim.inotify",
            culprit=process_culprit(actor),
            summary=summary,
            remedy=(
                f"Raise {limit} with sysctl for uid {actor.uid}, or watch fewer directories. A "
                f"user namespace has its own limit, user.{_OWN_LIMITS[call.error]}."
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=call.first_boottime_ns,
        )


def reaches_inotify_limit(actor: ProcessSnapshot, call: CallFailed) -> bool:
    """Whether the call failed because of a limit of inotify.

    EMFILE of inotify_init can also mean that the process had no descriptor left.
    """
    if call.call != CallKind.WATCH or call.error not in _INOTIFY:
        return False
    return not any(
        c.call == CallKind.WATCH
        and c.error == call.error == errno.EMFILE
        and c.open_descriptors >= c.descriptor_max
        for c in actor.last_failures
    )


def unusable_path(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because a path cannot be used in the way it tried."""
    for actor, last in last_calls(case, _PATHS):
        if last.call.call == CallKind.EXEC:
            continue
        yield _named(actor, last, "fs.path_unusable", _PATHS[last.call.error])


def gone(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because a device or a mount did not answer any more."""
    kinds = (CallKind.OPEN, CallKind.READ, CallKind.WRITE, CallKind.SYNC, CallKind.CHANGE)
    for actor, last in last_calls(case, _GONE):
        if last.call.call not in (*kinds, CallKind.ASK, CallKind.ENTER):
            continue
        if last.call.subject == SubjectKind.ENDPOINT or not last.call.path:
            continue
        yield _named(actor, last, "fs.gone", _GONE[last.call.error], SOME)


def _named(
    actor: ProcessSnapshot, last: LastCall, cause: str, why: str, more: float = 0.0
) -> Candidate:
    call = last.call
    what = last.path or subject_of(call)
    name, error = call_name(call.call_number), error_name(call.error)
    meaning: list[Evidence] = []
    if more:
        meaning.append(supports(more, f"{error} of {name}: {why}.", [fact(call)]))
    return Candidate(
        cause=cause,
        culprit=Culprit(type="file", path=what),
        summary=f"{actor.who} ended because {name} of {what} failed with {error}: {why}.",
        evidence=(*last.shown, *meaning),
        subject=actor.key,
        at_ns=call.failed_boottime_ns,
    )


CAUSES = (exec_refused, port_in_use, inotify, unusable_path, gone)
