"""The cause card fs.read_early."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.facts.versions import FileKey
from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.file_pairs import Pair, is_data, readers_of
from receiver.investigate.evidence import (
    SOME,
    STRONG,
    Candidate,
    context,
    ends,
    facts_of_use,
    file_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib
from receiver.work.tables import Use


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
                if not (wrote.first_ns <= use.first_ns and done < until) or not total:
                    continue
                if writer is reader or reader in case.below(writer):
                    continue
                if use.read_bytes >= whole or not (use.read_bytes or use.size_at_open):
                    continue
                text = (
                    f"{reader.who} opened it, and had read it {(until - done) / 1e9:.1f} s "
                    f"before {writer.who} closed it."
                )
                shown = [*facts_of_use(use), *facts_of_use(wrote)]
                evidence = [supports("fs.read_early.before_close", STRONG, text, shown)]
                text = f"It read {mib(max(use.read_bytes, use.size_at_open))} of {mib(whole)}."
                shown = [*facts_of_use(use)]
                evidence.append(supports("fs.read_early.read_a_part", SOME, text, shown))
                if writer.end.signal or writer.failed:
                    text = (
                        f"The writer ended later (it {writer.end.words}), so it was still "
                        "running when the file was read."
                    )
                    evidence.append(context("fs.read_early.writer_was_running", text, ends(writer)))
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


CARD = cause_class(
    name="fs.read_early",
    title="a file was read while it was still being written",
    predicts="a reader that finished before the writer",
    rivals="fs.truncated fs.stale_input fs.concurrent_writers",
    may_be_remote=True,
    tag="wait_for_marker",
    fix=(
        "Let the reader wait until the writer has finished (dependency, rename into "
        "place, marker file)."
    ),
    needs="file_opened",
    spreads=True,
    find=(read_early,),
)
