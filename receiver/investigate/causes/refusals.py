"""Calls that the kernel refused by a name of its own: exec, ports, inotify, paths, lost devices."""

from __future__ import annotations

import errno

from receiver.calls import call_name
from receiver.events import CallFailed, CallKind, Holder
from receiver.investigate.case import Case
from receiver.investigate.causes.last_calls import LastCall
from receiver.investigate.evidence import (
    Candidate,
    Culprit,
    Evidence,
    fact,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name

INOTIFY = {
    errno.ENOSPC: "fs.inotify.max_user_watches",
    errno.EMFILE: "fs.inotify.max_user_instances",
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


def reaches_inotify_limit(actor: ProcessSnapshot, call: CallFailed) -> bool:
    """Whether the call failed because of a limit of inotify.

    EMFILE of inotify_init can also mean that the process had no descriptor left.
    """
    if call.call != CallKind.WATCH or call.error not in INOTIFY:
        return False
    return not any(
        c.call == CallKind.WATCH
        and c.error == call.error == errno.EMFILE
        and c.open_descriptors >= c.descriptor_max
        for c in actor.last_failures
    )


def refused_call(
    actor: ProcessSnapshot, last: LastCall, cause: str, why: str, more: float = 0.0
) -> Candidate:
    call = last.call
    what = last.path or subject_of(call)
    name, error = call_name(call.call_number), error_name(call.error)
    meaning: list[Evidence] = []
    if more:
        meaning.append(
            supports("last.call.refused", more, f"{error} of {name}: {why}.", [fact(call)])
        )
    whose = "" if last.ended is actor else f" in its worker {actor.who}"
    return Candidate(
        cause=cause,
        culprit=Culprit(type="file", path=what),
        summary=(
            f"{last.ended.who} ended because {name} of {what} failed{whose} with {error}: {why}."
        ),
        evidence=(*last.shown, *meaning),
        subject=actor.key,
        at_ns=call.failed_boottime_ns,
    )
