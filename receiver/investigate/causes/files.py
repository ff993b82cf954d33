"""Causes in files: incomplete, overwritten, replaced or outdated data."""

from __future__ import annotations

import re
import signal
from collections import defaultdict
from collections.abc import Iterator

import msgspec

from receiver.events import FileChanged, FileOperation
from receiver.facts.files import FileKey, State, Use, Version
from receiver.investigate.case import Case, ProcessSnapshot
from receiver.investigate.causes.common import (
    died_of,
    sender_culprit,
    sender_text,
    sent_by_process,
    shorter,
)
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    Fact,
    context,
    contradicts,
    ends,
    fact,
    facts,
    facts_of_use,
    file_culprit,
    supports,
)
from receiver.text.names import ended, mib, resolve

_LOGS = (".log", ".out", ".err", ".lock", ".pid", ".wal", "-journal", "-wal", "-shm", ".lck")
_DATE = re.compile(r"\d{4}-\d\d-\d\d|(?<!\d)\d{8}(?!\d)|\d{4}/\d\d/\d\d")
Pair = tuple[ProcessSnapshot, Use]


def _is_data(path: str) -> bool:
    return not path.endswith(_LOGS) and not path.startswith(("/proc/", "/sys/", "/dev/"))


def _readers(case: Case) -> dict[FileKey, list[Pair]]:
    out: dict[FileKey, list[Pair]] = defaultdict(list)
    for actor in case:
        for use in actor.uses:
            if use.reading and not use.writing and _is_data(use.path):
                out[use.key].append((actor, use))
    return out


def _writers(case: Case) -> dict[FileKey, list[Pair]]:
    out: dict[FileKey, list[Pair]] = defaultdict(list)
    for actor in case:
        for use in actor.uses:
            if use.writing and use.written_bytes and _is_data(use.path):
                out[use.key].append((actor, use))
    return out


def truncated(case: Case) -> Iterator[Candidate]:
    """Finds files that their writer left incomplete, and their later readers."""
    versions: dict[int, tuple[Version, list[Pair]]] = {}
    for actor in case:
        for use in actor.uses:
            if use.writing and use.version is not None and use.version.state is State.PARTIAL:
                versions.setdefault(id(use.version), (use.version, []))
            source = use.source
            if (
                source is not None
                and source.state in (State.PARTIAL, State.SUPERSEDED)
                and source.cause
                and use.reading
                and use.first_ns >= source.changed_ns
            ):
                versions.setdefault(id(source), (source, []))[1].append((actor, use))
    for version, readers in versions.values():
        if _is_data(version.path) and not version.deleted:
            yield _torn(case, version, readers)


def _torn(case: Case, version: Version, readers: list[Pair]) -> Candidate:
    writer = case.get(version.writer.key)
    evidence: list[Evidence] = []
    left = next(
        (
            f
            for f in (writer.open_files if writer is not None else ())
            if (f.device, f.inode) == version.key
        ),
        None,
    )
    event = died_of(writer) if writer is not None else None
    how = f"{ended(version.cause)}" if version.cause else "was ended"
    size = (left.position_bytes or left.size_bytes) if left is not None else version.written_bytes
    text = (
        f"{version.writer.name} ({version.writer.key.tgid}) {how} while it had "
        f"{version.path} open for writing at byte {size}."
    )
    shown = [*facts(left, version.opened), *(ends(writer) if writer is not None else ())]
    evidence.append(supports(CLEAR, text, shown))
    sender = None
    if event is not None and writer is not None and sent_by_process(writer, event):
        evidence.append(supports(SOME, f"{sender_text(event)} ended it.", [fact(event)]))
        sender = sender_culprit(event)
    for reader, use in readers[:3]:
        later = (use.first_ns - (version.changed_ns or version.began_ns)) / 1e9
        text = (
            f"{later:.1f} s later {reader.who} read {mib(use.read_bytes)} of the same "
            "file (the same inode)."
        )
        evidence.append(supports(CLEAR, text, facts_of_use(use)))
        if reader.failed:
            text = f"{reader.who} then failed: it {reader.end.words}."
            evidence.append(supports(SOME, text, ends(reader)))
    if version.cause in ("enospc", "edquot", "eio"):
        evidence.append(
            contradicts(
                CLEAR, "The file is incomplete because a write failed.", facts(version.opened)
            )
        )
    blind = (
        next((a for a in case.above(writer) if a.exit is not None and not a.failed), None)
        if writer is not None
        else None
    )
    if blind is not None and writer is not None:
        text = f"{blind.who} did not report the failure: it exited with status 0."
        evidence.append(supports(SLIGHT, text, [*ends(writer), *ends(blind)]))
    evidence += shorter(case, version.path, size, facts(left, version.opened))
    if not readers:
        evidence.append(contradicts(SOME, "No process has read it since.", facts(version.opened)))
    who = f"; {readers[0][0].who} then read the incomplete file" if readers else ""
    summary = (
        f"{version.path} ends at byte {size}: its writer {version.writer.name} "
        f"({version.writer.key.tgid}) {how}{who}."
    )
    culprit = Culprit(
        type="file", path=version.path, inode=version.key[1], device=version.key[0], sender=sender
    )
    subject = readers[0][0].key if readers else version.writer.key
    at = version.changed_ns or version.began_ns
    return Candidate(
        cause="fs.truncated",
        culprit=culprit,
        summary=summary,
        evidence=tuple(evidence),
        subject=subject,
        at_ns=at,
        silent=bool(readers),
    )


def _openings(case: Case) -> dict[FileKey, tuple[list[Pair], int]]:
    """Returns, by file, the processes that opened it for writing and the bytes written.

    Bytes of processes that inherited the descriptor are included.
    """
    out: dict[FileKey, tuple[list[Pair], int]] = {}
    for actor in case:
        for use in actor.uses:
            if use.writing and not use.append and _is_data(use.path):
                pairs, wrote = out.get(use.key, ([], 0))
                out[use.key] = (
                    pairs if use.inherited else [*pairs, (actor, use)],
                    wrote + use.written_bytes,
                )
    return out


def read_early(case: Case) -> Iterator[Candidate]:
    """Finds readers that finished before the writer did, and so read less than the file has now."""
    openings = _openings(case)
    for key, readers in _readers(case).items():
        pairs, total = openings.get(key, ([], 0))
        for reader, use in readers:
            done = use.closed.time_boottime_ns if use.closed is not None else use.last_ns
            for writer, wrote in pairs:
                until = _written_until(writer, wrote)
                whole = max(wrote.size_bytes, total)
                if (
                    not (wrote.first_ns <= use.first_ns and done < until)
                    or use.read_bytes >= whole
                    or not total
                ):
                    continue
                if (
                    writer is reader
                    or reader in case.below(writer)
                    or not (use.read_bytes or use.size_at_open)
                ):
                    continue
                text = (
                    f"{reader.who} opened it, and had read it {(until - done) / 1e9:.1f} s "
                    f"before {writer.who} closed it."
                )
                evidence = [supports(STRONG, text, [*facts_of_use(use), *facts_of_use(wrote)])]
                got = max(use.read_bytes, use.size_at_open)
                evidence.append(
                    supports(SOME, f"It read {mib(got)} of {mib(whole)}.", facts_of_use(use))
                )
                if writer.end.signal or writer.failed:
                    text = (
                        f"The writer ended later (it {writer.end.words}), so it was still "
                        "running when the file was read."
                    )
                    evidence.append(context(text, ends(writer)))
                summary = f"{reader.who} read {use.path} while {writer.who} was still writing it."
                yield Candidate(
                    cause="fs.read_early",
                    culprit=file_culprit(wrote),
                    summary=summary,
                    evidence=tuple(evidence),
                    subject=reader.key,
                    at_ns=use.first_ns,
                    silent=True,
                )
                break


def _written_until(writer: ProcessSnapshot, use: Use) -> int:
    """Returns when the last descriptor that wrote was closed.

    A later read by the same process doesn't count.
    """
    if use.wrote is not None and not use.open:
        return use.wrote.time_boottime_ns
    return max(
        use.last_ns, use.closed.time_boottime_ns if use.closed is not None else 0, writer.end_ns
    )


def two_writers(case: Case) -> Iterator[Candidate]:
    """Finds two processes that had opened one file separately and wrote it at the same time."""
    for writers in _writers(case).values():
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
                evidence=tuple(evidence),
                subject=late.key,
                at_ns=second.first_ns,
                silent=True,
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
        return facts_of_use(self.by) if isinstance(self.by, Use) else (fact(self.by),)


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


def replaced(case: Case) -> Iterator[Candidate]:
    """Finds readers that failed after another process changed their open file.

    The other process truncated, deleted or replaced the file.
    """
    by_key, by_path = _removals(case)
    for key, readers in _readers(case).items():
        for reader, use in readers:
            bus = reader.end.signal == signal.SIGBUS
            if not (bus or reader.failed) or not use.size_at_open:
                continue
            done = (
                use.closed.time_boottime_ns
                if use.closed is not None and not use.open
                else reader.end_ns or case.now_ns
            )
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
                evidence=tuple(evidence),
                subject=reader.key,
                at_ns=hit.at_ns,
            )


def stale(case: Case) -> Iterator[Candidate]:
    """Finds input of another date, although this run had already written the data of its own date.

    No other process read that data.
    """
    writers, readers = _writers(case), _readers(case)
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
            silent=True,
        )


def older(case: Case) -> Iterator[Candidate]:
    """Finds input that another run wrote."""
    for actor in case:
        for use in actor.uses:
            source = use.source
            if source is None or source.execution is None or not use.reading or use.writing:
                continue
            theirs, ours = source.execution.identity, actor.execution.identity
            same = theirs.pipeline == ours.pipeline and theirs.run_id != ours.run_id
            if not same or source.execution.outermost is case.execution:
                continue
            text = (
                f"{use.path} was written by run {theirs.run_id} of task {theirs.task}, not "
                f"by this run ({ours.run_id})."
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
                silent=True,
            )


CAUSES = (truncated, read_early, two_writers, replaced, stale, older)
