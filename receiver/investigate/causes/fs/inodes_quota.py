"""The cause card fs.inodes_quota."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.disk_full import Refused, device_of, refused_by_file_systems
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    Candidate,
    Culprit,
    ends,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of


def without_inodes(case: Case) -> Iterator[Candidate]:
    for each in refused_by_file_systems(case):
        if not each.of_space:
            yield _no_inodes(case, each)


def _no_inodes(case: Case, each: Refused) -> Candidate:
    actor, first = each.actor, each.first
    what = subject_of(first)
    text = "Files could not be created, and no write failed for lack of space."
    evidence = [
        *each.shown,
        supports("fs.inodes_quota.create_refused", CLEAR, text, facts(*each.creates[:2])),
    ]
    culprit = Culprit(type="file", path=what)
    summary = f"No inode or quota was left for {what}."
    made = _made(case, what)
    if made is not None:
        number = sum(1 for u in made.uses if u.created)
        evidence.append(
            supports(
                "fs.inodes_quota.many_created",
                SLIGHT,
                f"{made.who} created {number} files there.",
                ends(made),
            )
        )
        culprit = process_culprit(made)
        summary = f"No inode or quota was left for {what}; {made.who} created most files there."
    return Candidate(
        cause="fs.inodes_quota",
        culprit=culprit,
        summary=summary,
        remedy=(
            f"Delete files on the file system of {what}, or raise its quota or number of inodes: "
            "the space itself is not used up."
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=first.first_boottime_ns,
        harms_without_failure=True,
    )


def _made(case: Case, path: str) -> ProcessSnapshot | None:
    device = device_of(case, path)
    counts = {a: sum(1 for u in a.uses if u.created and u.key[0] == device) for a in case}
    counts = {a: n + (a.collapsed and 0) for a, n in counts.items() if n}
    return max(counts, key=lambda a: (counts[a], a.pid)) if counts else None


CARD = cause_class(
    name="fs.inodes_quota",
    title="a file system had no inodes or no quota left",
    predicts="a create that failed while there was room",
    rivals="fs.enospc fs.eacces",
    tag="free_inodes",
    fix="Delete small files or raise the quota: the space itself is not used up.",
    needs="call_failed",
    spreads=True,
    brings=(
        to("fs.truncated", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
    ),
    find=(without_inodes,),
)
