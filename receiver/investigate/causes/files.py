"""Causes in files: incomplete, overwritten, replaced or outdated data."""

from __future__ import annotations

import re
import signal
from collections import defaultdict
from collections.abc import Iterator

import msgspec

from receiver.events import FileChanged, FileOperation
from receiver.facts.versions import FileKey
from receiver.investigate.case import Case
from receiver.investigate.causes.file_pairs import Pair, readers_of, writers_of
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Fact,
    ends,
    fact,
    facts,
    facts_of_use,
    file_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib, resolve
from receiver.work.tables import Use

_DATE = re.compile(r"\d{4}-\d\d-\d\d|(?<!\d)\d{8}(?!\d)|\d{4}/\d\d/\d\d")


def concurrent_writers(case: Case) -> Iterator[Candidate]:
    """Finds two processes that had opened one file separately and wrote it at the same time."""
    for writers in writers_of(case).values():
        own = [(a, u) for a, u in writers if not u.inherited and not u.append]
        for index, (one, first) in enumerate(own):
            other = next(
                (
                    (a, u)
                    for a, u in own[index + 1 :]
                    if (_overlap(one, first, a, u) and not case.related(one, a))
                    or (a is not one and _overlap(one, first, a, u) and one.parent == a.parent)
                ),
                None,
            )
            if other is None:
                continue
            late, second = other
            text = f"{one.who} and {late.who} had it open for writing at the same time."
            shown = [*facts_of_use(first), *facts_of_use(second)]
            evidence = [supports(STRONG, text, shown)]
            text = (
                f"They wrote {mib(first.written_bytes)} and {mib(second.written_bytes)}; "
                f"the file has {mib(second.size_bytes)}."
            )
            evidence.append(supports(SLIGHT, text, shown))
            if first.cut or second.cut:
                evidence.append(
                    supports(SLIGHT, "One of them truncated the data of the other.", shown)
                )
            summary = f"{one.who} and {late.who} wrote {second.path} at the same time."
            yield Candidate(
                cause="fs.concurrent_writers",
                culprit=file_culprit(second),
                summary=summary,
                remedy=(
                    f"Give {one.who} and {late.who} a path of their own instead of {second.path}, "
                    "or run them one after the other."
                ),
                evidence=tuple(evidence),
                subject=late.key,
                at_ns=second.first_ns,
                harms_without_failure=True,
            )
            break


def _overlap(one: ProcessSnapshot, first: Use, other: ProcessSnapshot, second: Use) -> bool:
    until = (
        first.closed.time_boottime_ns
        if first.closed is not None and not first.open
        else one.end_ns or 1 << 62
    )
    also = (
        second.closed.time_boottime_ns
        if second.closed is not None and not second.open
        else other.end_ns or 1 << 62
    )
    return first.first_ns < also and second.first_ns < until


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
            removals = [*by_key.get(key, ()), *by_path.get(use.path, ())]
            hit = next(
                (h for h in removals if h.actor is not reader and use.first_ns < h.at_ns <= done),
                None,
            )
            if hit is None:
                continue
            who = hit.actor
            text = f"{who.who} {hit.what} {use.path} while {reader.who} had it open."
            evidence = [supports(CLEAR + SLIGHT, text, [*hit.shown, *facts_of_use(use)])]
            how = (
                "was killed by SIGBUS, because the page that it read was gone"
                if bus
                else f"{reader.end.words}"
            )
            evidence.append(
                supports(STRONG if bus else SOME, f"{reader.who} then {how}.", ends(reader))
            )
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


def stale(case: Case) -> Iterator[Candidate]:
    """Finds input of another date, although this run had already written the data of its own date.

    No other process read that data.
    """
    writers, readers = writers_of(case), readers_of(case)
    fresh: dict[str, list[Pair]] = defaultdict(list)
    for key, pairs in writers.items():
        if key not in readers:
            for actor, use in pairs:
                if _DATE.search(use.path):
                    fresh[_DATE.sub("#", use.path)].append((actor, use))
    for key, pairs in readers.items():
        reader, use = pairs[0]
        alike = (
            fresh.get(_DATE.sub("#", use.path), ())
            if key not in writers and _DATE.search(use.path)
            else ()
        )
        hit = next(
            ((a, u) for a, u in alike if u.last_ns <= use.first_ns and not case.related(a, reader)),
            None,
        )
        if hit is None or use.source is not None or not use.read_bytes:
            continue
        writer, wrote = hit
        evidence = [
            supports(
                CLEAR,
                f"{reader.who} read {use.path}, which no process of this run wrote.",
                facts_of_use(use),
            )
        ]
        text = f"{writer.who} had written {wrote.path} before, and no process read it."
        evidence.append(supports(CLEAR, text, facts_of_use(wrote)))
        summary = f"{reader.who} read {use.path} instead of {wrote.path}, which this run wrote."
        yield Candidate(
            cause="fs.stale_input",
            culprit=file_culprit(use),
            summary=summary,
            evidence=tuple(evidence),
            subject=reader.key,
            at_ns=use.first_ns,
            harms_without_failure=True,
        )


def older(case: Case) -> Iterator[Candidate]:
    """Finds input that another run wrote."""
    for actor in case:
        for use in actor.uses:
            source = use.source
            if source is None or source.work is None or not use.reading or use.writing:
                continue
            theirs, ours = source.work.identity, actor.execution.identity
            same = theirs.pipeline == ours.pipeline and theirs.run_id != ours.run_id
            if not same or source.work.outermost is case.execution:
                continue
            text = (
                f"{use.path} was written by run {theirs.run_id} of task {theirs.task}, not by this "
                f"run ({ours.run_id})."
            )
            evidence = [supports(CLEAR + SOME, text, [*facts_of_use(use), *facts(source.opened)])]
            summary = f"{actor.who} read {use.path}, which an older run wrote."
            yield Candidate(
                cause="fs.stale_input",
                culprit=file_culprit(use),
                summary=summary,
                evidence=tuple(evidence),
                subject=actor.key,
                at_ns=use.first_ns,
                harms_without_failure=True,
            )


CAUSES = (concurrent_writers, replaced, stale, older)
