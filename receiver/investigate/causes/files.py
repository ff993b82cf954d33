"""Causes in files: incomplete, overwritten, replaced or outdated data."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator

import msgspec

from receiver.events import FileChanged, FileOperation
from receiver.facts.versions import FileKey
from receiver.investigate.case import Case
from receiver.investigate.causes.file_pairs import readers_of
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    Fact,
    ends,
    fact,
    facts_of_use,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import resolve
from receiver.work.tables import Use


class _Removal(msgspec.Struct, frozen=True, eq=False):
    """An operation that removes data which a reader has not read yet."""

    actor: ProcessSnapshot
    at_ns: int
    what: str
    by: Use | FileChanged

    @property
    def shown(self) -> tuple[Fact, ...]:
        return (fact(self.by),) if isinstance(self.by, FileChanged) else facts_of_use(self.by)


def _removals(case: Case) -> tuple[dict[FileKey, list[_Removal]], dict[str, list[_Removal]]]:
    """Returns truncations by file, and truncations, replacements and removals by path."""
    by_key: dict[FileKey, list[_Removal]] = defaultdict(list)
    by_path: dict[str, list[_Removal]] = defaultdict(list)
    for actor in case:
        for use in actor.uses:
            if use.writing and (use.cut or not use.size_at_open):
                by_key[use.key].append(_Removal(actor, use.first_ns, "cut", use))
        for change in actor.changes:
            old, at = resolve(change.directory, change.path), change.time_boottime_ns
            match change.operation:
                case FileOperation.TRUNCATE:
                    by_path[old].append(_Removal(actor, at, "cut", change))
                case FileOperation.UNLINK:
                    by_path[old].append(_Removal(actor, at, "removed", change))
                case FileOperation.RENAME:
                    by_path[old].append(_Removal(actor, at, "moved", change))
                    new = resolve(change.new_directory, change.new_path)
                    by_path[new].append(_Removal(actor, at, "replaced", change))
    return by_key, by_path


def _may_miss(reader: ProcessSnapshot) -> bool:
    """Whether it may have failed because of a file that changed.

    After a fault that was seen, receiver.investigate.causes.bus_errors decides by what was mapped.
    """
    if reader.end.signal == signal.SIGBUS:
        return reader.moments.fault is None
    return reader.failed


def _what_the_reader_did(reader: ProcessSnapshot, *, bus: bool) -> Evidence:
    how = reader.end.words
    if bus:
        how = "was killed by SIGBUS, because the page that it read was gone"
    text = f"{reader.who} then {how}."
    weight = STRONG if bus else SOME
    return supports("fs.replaced.reader_then_ended", weight, text, ends(reader))


def replaced(case: Case) -> Iterator[Candidate]:
    """Finds readers that failed after another process changed their open file.

    The other process truncated, deleted or replaced the file.
    """
    by_key, by_path = _removals(case)
    for key, readers in readers_of(case).items():
        for reader, use in readers:
            bus = reader.end.signal == signal.SIGBUS
            if not _may_miss(reader) or not use.size_at_open:
                continue
            done = reader.end_ns or case.now_ns
            if use.closed is not None and not use.open:
                done = use.closed.time_boottime_ns
            removals = (*by_key.get(key, ()), *by_path.get(use.path, ()))
            others = (h for h in removals if h.actor is not reader)
            hit = next((h for h in others if use.first_ns < h.at_ns <= done), None)
            if hit is None:
                continue
            who = hit.actor
            text = f"{who.who} {hit.what} {use.path} while {reader.who} had it open."
            shown = [*hit.shown, *facts_of_use(use)]
            evidence = [
                supports("fs.replaced.changed_while_open", CLEAR + SLIGHT, text, shown),
                _what_the_reader_did(reader, bus=bus),
            ]
            summary = f"{who.who} {hit.what} {use.path} while {reader.who} was reading it."
            culprit = Culprit(
                type="process",
                name=who.script or who.name,
                pid=who.pid,
                start_boottime_ns=who.start_ns,
                path=use.path,
                inode=use.key[1],
            )
            yield Candidate(
                cause="fs.replaced",
                culprit=culprit,
                summary=summary,
                remedy=(
                    f"Let {who.who} write a new file instead of {use.path}, and delete the old one "
                    f"only when {reader.who} has ended."
                ),
                evidence=tuple(evidence),
                subject=reader.key,
                at_ns=hit.at_ns,
            )
