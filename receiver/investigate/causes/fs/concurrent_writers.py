"""The cause card fs.concurrent_writers."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.file_pairs import writers_of
from receiver.investigate.evidence import (
    SLIGHT,
    STRONG,
    Candidate,
    facts_of_use,
    file_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib
from receiver.work.tables import Use


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
            evidence = [supports("fs.concurrent_writers.open_at_once", STRONG, text, shown)]
            text = (
                f"They wrote {mib(first.written_bytes)} and {mib(second.written_bytes)}; "
                f"the file has {mib(second.size_bytes)}."
            )
            evidence.append(supports("fs.concurrent_writers.sizes_differ", SLIGHT, text, shown))
            if first.cut or second.cut:
                evidence.append(
                    supports(
                        "fs.concurrent_writers.truncated_the_other",
                        SLIGHT,
                        "One of them truncated the data of the other.",
                        shown,
                    )
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


CARD = cause_class(
    name="fs.concurrent_writers",
    title="two writers had one file open at the same time",
    predicts="two writers of one file at the same time",
    rivals="fs.read_early proc.duplicate_run fs.truncated",
    tag="unique_path",
    fix="Give each writer a path of its own, or run them one after the other.",
    needs="file_opened",
    spreads=True,
    begins_with=(
        to("fs.", Via.SAME_FILE),
        to("fs.", Via.SAME),
    ),
    find=(concurrent_writers,),
)
