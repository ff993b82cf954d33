"""The cause card fs.eacces."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import CallKind, FileChanged, FileOperation
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Culprit,
    ends,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name, resolve
from receiver.units import SECOND

_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def denied(case: Case) -> Iterator[Candidate]:
    """Finds EACCES, EPERM and EROFS for a path, in a process that then failed."""
    for actor in case:
        kinds = (CallKind.OPEN, CallKind.CHANGE, CallKind.WRITE, CallKind.OTHER)
        calls = [c for c in actor.calls if c.error in _DENIED and c.call in kinds and c.path]
        if not calls or not actor.failed or actor.end.signal:
            continue
        call = max(calls, key=lambda c: c.last_boottime_ns)
        path = subject_of(call)
        text = f"{actor.who}, with uid {actor.uid}, got {error_name(call.error)} on {path}."
        evidence = [supports("fs.eacces.call_refused", CLEAR + SLIGHT, text, facts(call))]
        soon = actor.end_ns - call.last_boottime_ns
        if soon < 2 * SECOND:
            text = f"{soon / 1e9:.2f} s later it {actor.end.words}."
            evidence.append(
                supports(
                    "fs.eacces.then_ended", SOME if soon < SECOND else SLIGHT, text, ends(actor)
                )
            )
        culprit, by = Culprit(type="file", path=path), ""
        if maker := _maker(case, path):
            who, change = maker
            by = f"; {who.who} (uid {who.uid}) had created or changed it"
            evidence.append(
                supports(
                    "fs.eacces.made_by_another_user",
                    SOME,
                    f"{who.who}, with uid {who.uid}, created or changed it.",
                    facts(change),
                )
            )
            culprit = Culprit(type="file", path=path, sender=process_culprit(who))
        summary = (
            f"{actor.who} (uid {actor.uid}) has no permission for {path} "
            f"({error_name(call.error)}){by}."
        )
        yield Candidate(
            cause="fs.eacces",
            culprit=culprit,
            summary=summary,
            remedy=(
                f"Set the owner or the mode of {path} for uid {actor.uid}, or mount it writable."
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=call.first_boottime_ns,
        )


def _maker(case: Case, path: str) -> tuple[ProcessSnapshot, FileChanged] | None:
    kinds = (FileOperation.MKDIR, FileOperation.CHMOD, FileOperation.CHOWN)
    found = [
        (a, c)
        for a in case
        for c in a.changes
        if c.operation in kinds and path.startswith(resolve(c.directory, c.path))
    ]
    return max(found, key=lambda pair: pair[1].time_boottime_ns, default=None)


CARD = cause_class(
    name="fs.eacces",
    title="it had no permission for a file",
    predicts="a file operation that was denied",
    rivals="fs.enospc proc.interpreter fs.lock",
    tag="fix_ownership",
    fix=(
        "Set the owner or the mode of the path (or mount it writable) for the user that the "
        "task runs as."
    ),
    needs="call_failed",
    brings=(to("net.reset_short", Via.CONNECTION_ENDS),),
    find=(denied,),
)
