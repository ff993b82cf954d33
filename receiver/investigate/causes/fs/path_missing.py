"""The cause card fs.path_missing."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import CallKind, FileOperation
from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.last_calls import (
    LastCall,
    last_calls,
)
from receiver.investigate.causes.missing_paths import Change, is_inside, maker_text, makings
from receiver.investigate.evidence import (
    CLEAR,
    Candidate,
    Culprit,
    fact,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import error_name, resolve


def missing(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because a path did not exist."""
    for actor, last in last_calls(case, (errno.ENOENT, errno.ENOTDIR)):
        if not last.path or last.call.call in (CallKind.EXEC, CallKind.CONNECT):
            continue
        made, removed = makings(case, last.path), _removed(case, last.path)
        if any(m.actor is actor and m.at_ns > last.call.failed_boottime_ns for m in made):
            continue  # it made the path itself
        yield _missing(actor, last, made, removed)


def _missing(
    actor: ProcessSnapshot, last: LastCall, made: list[Change], removed: list[Change]
) -> Candidate:
    at = last.call.failed_boottime_ns
    gone = max((r for r in removed if r.at_ns <= at), key=lambda r: r.at_ns, default=None)
    if gone is not None and any(gone.at_ns < m.at_ns <= at for m in made):
        gone = None  # it was made again
    late = min((m for m in made if m.at_ns > at), key=lambda m: m.at_ns, default=None)
    evidence = list(last.shown)
    culprit, remedy = Culprit(type="file", path=last.path), ""
    summary = f"{actor.who} did not find {last.path}, which did not exist"
    if gone is not None:
        ago = (at - gone.at_ns) / 1e9
        text = f"{gone.actor.who} had {gone.what} {ago:.2f} s before."
        evidence.append(supports("fs.path_missing.removed_before", CLEAR, text, gone.shown))
        culprit = maker_text(gone.actor, last.path)
        summary += f": {gone.actor.who} had {gone.what}"
        remedy = f"Let {gone.actor.who} run after {actor.who}, or keep {last.path} until then."
    elif late is not None and late.actor is not actor:
        after = (late.at_ns - at) / 1e9
        text = f"{late.actor.who} {late.what} {after:.2f} s later."
        evidence.append(supports("fs.path_missing.made_later", CLEAR, text, late.shown))
        culprit = maker_text(late.actor, last.path)
        summary += f" yet: {late.actor.who} {late.what} {after:.2f} s later"
        remedy = f"Let {actor.who} start after {late.actor.who} has made {last.path}."
    return Candidate(
        cause="fs.path_missing",
        culprit=culprit,
        summary=f"{summary} ({error_name(last.call.error)}).",
        remedy=remedy,
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=at,
    )


def _removed(case: Case, path: str) -> list[Change]:
    """Removals and renames of the path or of a directory above it."""
    words: dict[int, str] = {
        FileOperation.UNLINK: "removed",
        FileOperation.RMDIR: "removed",
        FileOperation.RENAME: "renamed",
    }
    out = []
    for actor in case:
        for change in actor.changes:
            old = resolve(change.directory, change.path)
            if change.operation in words and is_inside(path, old):
                what = f"{words[change.operation]} {'it' if old == path else old}"
                if change.operation == FileOperation.RENAME:
                    what += f" to {resolve(change.new_directory, change.new_path)}"
                out.append(Change(actor, change.time_boottime_ns, what, (fact(change),)))
    return out


CARD = cause_class(
    name="fs.path_missing",
    title="a path that it needed did not exist",
    predicts="a path that did not exist in the last call that failed",
    rivals="proc.interpreter fs.eacces fs.path_exists",
    tag="make_path_first",
    fix=(
        "Let the step that makes the path finish first, and remove or rename it only after "
        "its last reader. If nothing makes it, correct the path."
    ),
    needs="last_failure file_changed",
    find=(missing,),
)
