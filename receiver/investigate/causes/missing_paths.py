"""Paths that a failed process needed: removed before, made too late, or there against its will."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from receiver.events import CallKind, FileOperation
from receiver.investigate.case import Case
from receiver.investigate.causes.last_calls import (
    LastCall,
    is_argument,
    last_calls,
    makes_directory,
)
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    Culprit,
    Evidence,
    Fact,
    ends,
    fact,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import error_name, resolve
from receiver.units import SECOND

_RACE_NS = 2 * SECOND


class _Change(msgspec.Struct, frozen=True, eq=False):
    """What a process of the run did to a name."""

    actor: ProcessSnapshot
    at_ns: int
    what: str
    shown: tuple[Fact, ...]


def missing(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because a path did not exist."""
    for actor, last in last_calls(case, (errno.ENOENT, errno.ENOTDIR)):
        if not last.path or last.call.call in (CallKind.EXEC, CallKind.CONNECT):
            continue
        made, removed = _made(case, last.path), _removed(case, last.path)
        yield _missing(actor, last, made, removed)


def _missing(
    actor: ProcessSnapshot, last: LastCall, made: list[_Change], removed: list[_Change]
) -> Candidate:
    at = last.call.failed_boottime_ns
    gone = max((r for r in removed if r.at_ns <= at), key=lambda r: r.at_ns, default=None)
    if gone is not None and any(gone.at_ns < m.at_ns <= at for m in made):
        gone = None  # it was made again
    late = min((m for m in made if m.at_ns > at), key=lambda m: m.at_ns, default=None)
    evidence = list(last.shown)
    culprit, remedy = Culprit(type="file", path=last.path), ""
    summary = f"{actor.who} needed {last.path}, which did not exist"
    if gone is not None:
        ago = (at - gone.at_ns) / 1e9
        text = f"{gone.actor.who} had {gone.what} {ago:.2f} s before."
        evidence.append(supports(CLEAR, text, gone.shown))
        culprit = _by(gone.actor, last.path)
        summary += f": {gone.actor.who} had {gone.what}"
        remedy = f"Let {gone.actor.who} run after {actor.who}, or keep {last.path} until then."
    elif late is not None and late.actor is not actor:
        after = (late.at_ns - at) / 1e9
        text = f"{late.actor.who} {late.what} {after:.2f} s later."
        evidence.append(supports(CLEAR, text, late.shown))
        culprit = _by(late.actor, last.path)
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


def existing(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because a path existed that it wanted to create."""
    for actor, last in last_calls(case, (errno.EEXIST, errno.ENOTEMPTY, errno.EADDRINUSE)):
        if not last.path:
            continue
        yield _existing(case, actor, last)


def _existing(case: Case, actor: ProcessSnapshot, last: LastCall) -> Candidate:
    at = last.call.failed_boottime_ns
    made = [m for m in _made(case, last.path) if m.at_ns <= at]
    maker = max(made, key=lambda m: m.at_ns, default=None)
    evidence = list(last.shown)
    if is_argument(actor, last.call) and makes_directory(last.call):
        text = f"{last.path} is an argument of its command."
        evidence.append(supports(SOME, text, last.shown[0].facts))
    culprit = Culprit(type="file", path=last.path)
    summary = f"{actor.who} could not create {last.path}, which exists"
    if maker is not None and maker.actor is not actor:
        known, how = _maker(last, maker)
        evidence.append(known)
        culprit = _by(maker.actor, last.path)
        summary += f": {how}"
    return Candidate(
        cause="fs.path_exists",
        culprit=culprit,
        summary=f"{summary} ({error_name(last.call.error)}).",
        remedy=(
            f"Give {actor.who} a path of its own instead of {last.path}, or let it accept one that "
            "exists."
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=at,
    )


def _maker(last: LastCall, maker: _Change) -> tuple[Evidence, str]:
    """Who made it: a competitor that still ran, or one that ended and left it behind."""
    at, who = last.call.failed_boottime_ns, maker.actor
    ago = (at - maker.at_ns) / 1e9
    if who.end_ns and who.end_ns <= at:
        text = f"{who.who} {maker.what} {ago:.2f} s before, {who.end.words} and left it."
        weight = CLEAR if who.failed or not makes_directory(last.call) else 0.0
        return (
            supports(weight, text, [*maker.shown, *ends(who)]),
            f"{who.who} {maker.what} and left it",
        )
    text = f"{who.who} {maker.what} {ago:.2f} s before, and was running at that time."
    weight = CLEAR if at - maker.at_ns <= _RACE_NS or not makes_directory(last.call) else 0.0
    return supports(weight, text, maker.shown), f"{who.who}, which was running, {maker.what}"


def _by(who: ProcessSnapshot, path: str) -> Culprit:
    known = process_culprit(who)
    return Culprit(
        type="process",
        name=known.name,
        pid=known.pid,
        start_boottime_ns=known.start_boottime_ns,
        path=path,
    )


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _removed(case: Case, path: str) -> list[_Change]:
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
            if change.operation in words and _is_in(path, old):
                what = f"{words[change.operation]} {'it' if old == path else old}"
                if change.operation == FileOperation.RENAME:
                    what += f" to {resolve(change.new_directory, change.new_path)}"
                out.append(_Change(actor, change.time_boottime_ns, what, (fact(change),)))
    return out


def _made(case: Case, path: str) -> list[_Change]:
    """Everything that makes the path exist."""
    out = []
    for actor in case:
        for use in actor.uses:
            if use.path == path and use.created:
                out.append(_Change(actor, use.first_ns, "created it", facts_of_use(use)))
        for change in actor.changes:
            at = change.time_boottime_ns
            shown = (fact(change),)
            match change.operation:
                case FileOperation.MKDIR if resolve(change.directory, change.path) == path:
                    out.append(_Change(actor, at, "created it", shown))
                case FileOperation.RENAME | FileOperation.LINK | FileOperation.SYMLINK if _is_in(
                    path, resolve(change.new_directory, change.new_path)
                ):
                    out.append(_Change(actor, at, "put it in place", shown))
    return out


CAUSES = (missing, existing)
