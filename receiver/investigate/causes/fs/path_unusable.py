"""The cause card fs.path_unusable."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import CallKind
from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.last_calls import last_calls
from receiver.investigate.causes.refusals import refused_call
from receiver.investigate.evidence import (
    Candidate,
)

_PATHS = {
    errno.ENAMETOOLONG: "the path or a name in it is too long",
    errno.EXDEV: "the two paths are on different file systems",
    errno.ELOOP: "the path has too many symbolic links",
    errno.EISDIR: "the path is a directory",
}


def unusable_path(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because a path cannot be used in the way it tried."""
    for actor, last in last_calls(case, _PATHS):
        if last.call.call == CallKind.EXEC:
            continue
        yield refused_call(actor, last, "fs.path_unusable", _PATHS[last.call.error])


CARD = cause_class(
    name="fs.path_unusable",
    title="a path could not be used in the way that it tried",
    predicts="EXDEV, ELOOP, EISDIR or ENAMETOOLONG in the last call that failed",
    rivals="fs.path_missing fs.eacces",
    tag="correct_path",
    fix="Correct the path: the error says what is wrong with it.",
    needs="last_failure",
    find=(unusable_path,),
)
