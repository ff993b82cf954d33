"""Files that were read before they were whole."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.facts.versions import FileKey, VersionState
from receiver.investigate.case import Case
from receiver.investigate.causes.common import (
    died_of,
    sender_culprit,
    sender_text,
    sent_by_process,
    shorter,
)
from receiver.investigate.causes.file_pairs import Pair, is_data, readers_of
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    context,
    contradicts,
    ends,
    fact,
    facts,
    facts_of_use,
    file_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import end_phrase, mib
from receiver.work.tables import Use, Version


def truncated(case: Case) -> Iterator[Candidate]:
    """Finds files that their writer left incomplete, and their later readers."""
    versions: dict[int, tuple[Version, list[Pair]]] = {}
    for actor in case:
        for use in actor.uses:
            if (
                use.writing
                and use.version is not None
                and use.version.state is VersionState.PARTIAL
            ):
                versions.setdefault(id(use.version), (use.version, []))
            source = use.source
            if (
                source is not None
                and source.state in (VersionState.PARTIAL, VersionState.SUPERSEDED)
                and source.cause
                and use.reading
                and use.first_ns >= source.changed_ns
            ):
                versions.setdefault(id(source), (source, []))[1].append((actor, use))
    for version, readers in versions.values():
        if is_data(version.path) and not version.deleted:
            yield _torn(case, version, readers)


def _torn(case: Case, version: Version, readers: list[Pair]) -> Candidate:
    writer = case.get(version.writer.key)
    open_files = writer.open_files if writer is not None else ()
    left = next((f for f in open_files if (f.device, f.inode) == version.key), None)
    how = f"{end_phrase(version.cause)}" if version.cause else "was ended"
    size = (left.position_bytes or left.size_bytes) if left is not None else version.written_bytes
    text = (
        f"{version.writer.name} ({version.writer.key.tgid}) {how} while it had {version.path} open "
        f"for writing at byte {size}."
    )
    shown = [*facts(left, version.opened), *(ends(writer) if writer is not None else ())]
    evidence = [supports(CLEAR, text, shown)]
    sender = None
    event = died_of(writer) if writer is not None else None
    if event is not None and writer is not None and sent_by_process(writer, event):
        evidence.append(supports(SOME, f"{sender_text(event)} ended it.", [fact(event)]))
        sender = sender_culprit(event)
    evidence += _readings(version, readers)
    if version.cause in ("enospc", "edquot", "eio"):
        text = "The file is incomplete because a write failed."
        evidence.append(contradicts(CLEAR, text, facts(version.opened)))
    if writer is not None:
        evidence += _untold(case, writer)
    evidence += shorter(case, version.path, size, facts(left, version.opened))
    if not readers:
        evidence.append(contradicts(SOME, "No process has read it since.", facts(version.opened)))
    who = f"; {readers[0][0].who} then read the incomplete file" if readers else ""
    summary = (
        f"{version.path} ends at byte {size}: its writer {version.writer.name} "
        f"({version.writer.key.tgid}) {how}{who}."
    )
    return Candidate(
        cause="fs.truncated",
        culprit=Culprit(
            type="file",
            path=version.path,
            inode=version.key[1],
            device=version.key[0],
            sender=sender,
        ),
        summary=summary,
        remedy=(
            f"Write {version.path} under a temporary name, fsync it, then rename it. Let its "
            "readers wait for the success of the task."
        ),
        evidence=tuple(evidence),
        subject=readers[0][0].key if readers else version.writer.key,
        at_ns=version.changed_ns or version.began_ns,
        harms_without_failure=bool(readers),
    )


def _readings(version: Version, readers: list[Pair]) -> list[Evidence]:
    """Returns evidence for each process that read the file after its writer had ended."""
    out = []
    for reader, use in readers[:3]:
        later = (use.first_ns - (version.changed_ns or version.began_ns)) / 1e9
        text = (
            f"{later:.1f} s later {reader.who} read {mib(use.read_bytes)} of the same "
            "file (the same inode)."
        )
        out.append(supports(CLEAR, text, facts_of_use(use)))
        if reader.failed:
            text = f"{reader.who} then failed: it {reader.end.words}."
            out.append(supports(SOME, text, ends(reader)))
    return out


def _untold(case: Case, writer: ProcessSnapshot) -> list[Evidence]:
    """Returns evidence for an ancestor of the writer that reported success."""
    blind = next((a for a in case.above(writer) if a.exit is not None and not a.failed), None)
    if blind is None:
        return []
    text = f"{blind.who} did not report the failure: it exited with status 0."
    return [supports(SLIGHT, text, [*ends(writer), *ends(blind)])]


def _openings(case: Case) -> dict[FileKey, tuple[list[Pair], int]]:
    """Returns, by file, the processes that opened it for writing and the bytes written.

    Bytes of processes that inherited the descriptor are included.
    """
    out: dict[FileKey, tuple[list[Pair], int]] = {}
    for actor in case:
        for use in actor.uses:
            if use.writing and not use.append and is_data(use.path):
                pairs, wrote = out.get(use.key, ([], 0))
                out[use.key] = (
                    pairs if use.inherited else [*pairs, (actor, use)],
                    wrote + use.written_bytes,
                )
    return out


def read_early(case: Case) -> Iterator[Candidate]:
    """Finds readers that finished before the writer did, and so read less than the file has now."""
    openings = _openings(case)
    for key, readers in readers_of(case).items():
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
                    remedy=(
                        f"Let {reader.who} wait until {writer.who} has ended, or let {writer.who} "
                        f"rename {use.path} into its place at the end."
                    ),
                    evidence=tuple(evidence),
                    subject=reader.key,
                    at_ns=use.first_ns,
                    harms_without_failure=True,
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


CAUSES = (truncated, read_early)
