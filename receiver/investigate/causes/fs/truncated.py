"""The cause card fs.truncated."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.facts.versions import VersionState
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.common import (
    died_of,
    sender_culprit,
    sender_text,
    sent_by_process,
    shorter,
)
from receiver.investigate.causes.file_pairs import Pair, is_data
from receiver.investigate.coverage import why_unseen
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Culprit,
    Evidence,
    contradicts,
    ends,
    fact,
    facts,
    facts_of_use,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import end_phrase, mib
from receiver.work.tables import Version


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
    how = end_phrase(version.cause) if version.cause else "was ended"
    size = (left.position_bytes or left.size_bytes) if left is not None else version.written_bytes
    text = (
        f"{version.writer.name} ({version.writer.key.tgid}) {how} while it had {version.path} open "
        f"for writing at byte {size}."
    )
    shown = [*facts(left, version.opened), *(ends(writer) if writer is not None else ())]
    evidence = [supports("fs.truncated.writer_ended", CLEAR, text, shown)]
    sender, event = None, died_of(writer) if writer is not None else None
    if event is not None and writer is not None and sent_by_process(writer, event):
        text = f"{sender_text(event)} ended it."
        evidence.append(supports("fs.truncated.ended_by_sender", SOME, text, [fact(event)]))
        sender = sender_culprit(event)
    evidence += _readings(version, readers)
    if version.cause in ("enospc", "edquot", "eio"):
        text = "The file is incomplete because a write failed."
        opened = facts(version.opened)
        evidence.append(contradicts("fs.truncated.write_failed", CLEAR, text, opened))
    if writer is not None:
        evidence += _untold(case, writer)
    evidence += shorter(case, version.path, size, facts(left, version.opened))
    if not readers and not why_unseen(case, ("file_opened",), None):
        text = "No observed process has read it since."
        evidence.append(contradicts("fs.truncated.unread_since", SOME, text, facts(version.opened)))
    who = f"; {readers[0][0].who} then read the incomplete file" if readers else ""
    summary = (
        f"{version.path} ends at byte {size}: its writer {version.writer.name} "
        f"({version.writer.key.tgid}) {how}{who}."
    )
    (device, inode), path = version.key, version.path
    culprit = Culprit(type="file", path=path, inode=inode, device=device, sender=sender)
    return Candidate(
        cause="fs.truncated",
        culprit=culprit,
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
        out.append(supports("fs.truncated.read_later", CLEAR, text, facts_of_use(use)))
        if reader.failed:
            text = f"{reader.who} then failed: it {reader.end.words}."
            out.append(supports("fs.truncated.reader_failed", SOME, text, ends(reader)))
    return out


def _untold(case: Case, writer: ProcessSnapshot) -> list[Evidence]:
    """Returns evidence for an ancestor of the writer that reported success."""
    blind = next((a for a in case.above(writer) if a.exit is not None and not a.failed), None)
    if blind is None:
        return []
    text = f"{blind.who} did not report the failure: it exited with status 0."
    return [supports("fs.truncated.unreported", SLIGHT, text, [*ends(writer), *ends(blind)])]


CARD = cause_class(
    name="fs.truncated",
    title=(
        "a writer was ended in the middle of a file, and the next step used the incomplete file"
    ),
    predicts="a file left open by a writer that was ended",
    rivals="fs.read_early fs.enospc fs.stale_input",
    may_be_remote=True,
    tag="atomic_write",
    fix=(
        "Write to a temporary name, fsync, then rename. Let the reader wait for the "
        "task's success or for a marker file."
    ),
    needs="open_file file_opened signal",
    spreads=True,
    begins_with=(to("kill. mem. crash. fs.", Via.SAME_FILE),),
    find=(truncated,),
)
