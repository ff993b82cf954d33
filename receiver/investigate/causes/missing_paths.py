"""Paths that a failed process needed: removed before, made too late, or there against its will."""

from __future__ import annotations

import msgspec

from receiver.events import FileOperation
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    Culprit,
    Fact,
    fact,
    facts_of_use,
    process_culprit,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import resolve


class Change(msgspec.Struct, frozen=True, eq=False):
    """What a process of the run did to a name."""

    actor: ProcessSnapshot
    at_ns: int
    what: str
    shown: tuple[Fact, ...]


def maker_text(who: ProcessSnapshot, path: str) -> Culprit:
    known = process_culprit(who)
    return Culprit(
        type="process",
        name=known.name,
        pid=known.pid,
        start_boottime_ns=known.start_boottime_ns,
        path=path,
    )


def is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def makings(case: Case, path: str) -> list[Change]:
    """Everything that makes the path exist."""
    out = []
    for actor in case:
        for use in actor.uses:
            if use.path == path and use.created:
                out.append(Change(actor, use.first_ns, "created it", facts_of_use(use)))
        for change in actor.changes:
            at = change.time_boottime_ns
            shown = (fact(change),)
            match change.operation:
                case FileOperation.MKDIR if resolve(change.directory, change.path) == path:
                    out.append(Change(actor, at, "created it", shown))
                case FileOperation.RENAME | FileOperation.LINK | FileOperation.SYMLINK if is_inside(
                    path, resolve(change.new_directory, change.new_path)
                ):
                    out.append(Change(actor, at, "put it in place", shown))
    return out
