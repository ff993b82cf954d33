"""The cause card fs.path_unusable."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from receiver.events import CallKind
from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.last_calls import LastCall, last_calls
from receiver.investigate.causes.refusals import refused_call
from receiver.investigate.evidence import (
    CLEAR,
    Candidate,
    ends,
    process_culprit,
    supports,
)

_PATHS = {
    errno.ENAMETOOLONG: "the path or a name in it is too long",
    errno.EXDEV: "the two paths are on different file systems",
    errno.ELOOP: "the path has too many symbolic links",
    errno.EISDIR: "the path is a directory",
    errno.ETXTBSY: "a process executes the file",
}


def unusable_path(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because a path cannot be used in the way it tried."""
    for actor, last in last_calls(case, _PATHS):
        if last.call.call == CallKind.EXEC:
            continue
        found = refused_call(actor, last, "fs.path_unusable", _PATHS[last.call.error])
        if last.call.error == errno.ETXTBSY:
            found = _executed(case, last, found)
        yield found


def _executed(case: Case, last: LastCall, found: Candidate) -> Candidate:
    """Adds the process of this run that executed the file at that moment."""
    at = last.call.failed_boottime_ns
    runs = next(
        (
            a
            for a in case
            if a.executable == last.path and a.exec_ns <= at and (not a.end_ns or a.end_ns >= at)
        ),
        None,
    )
    if runs is None:
        return found
    text = f"{runs.who} executed {last.path} at that moment."
    known = process_culprit(runs)
    return msgspec.structs.replace(
        found,
        culprit=msgspec.structs.replace(known, path=last.path),
        summary=f"{found.summary.removesuffix('.')}: {runs.who}.",
        remedy=f"Write to a new file and rename it over {last.path}, which {runs.who} executes.",
        evidence=(
            *found.evidence,
            supports(
                "fs.path_unusable.executed_then", CLEAR, text, ends(runs) or last.shown[0].facts
            ),
        ),
    )


CARD = cause_class(
    name="fs.path_unusable",
    title="a path could not be used in the way that it tried",
    predicts="EXDEV, ELOOP, EISDIR, ETXTBSY or ENAMETOOLONG in the last call that failed",
    rivals="fs.path_missing fs.eacces",
    tag="correct_path",
    fix="Correct the path: the error says what is wrong with it.",
    needs="last_failure",
    find=(unusable_path,),
)
