"""The cause card fs.enospc."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.disk_full import Refused, device_of, refused_by_file_systems
from receiver.investigate.evidence import (
    SOME,
    Candidate,
    Culprit,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import mib
from receiver.units import MIB
from receiver.work.tables import Use

# Who wrote less than this did not fill a file system: not even one of a few MiB.
_MATTERS_BYTES = MIB


def full_disks(case: Case) -> Iterator[Candidate]:
    for each in refused_by_file_systems(case):
        if each.of_space:
            yield _enospc(case, each)


def _enospc(case: Case, each: Refused) -> Candidate:
    actor, first = each.actor, each.first
    what = subject_of(first)
    device, filler = _filler(case, actor, what)
    culprit, by = Culprit(type="file", path=what, device=device), ""
    evidence = list(each.shown)
    if filler is not None:
        who, wrote, use = filler
        by = f"; of the observed processes {who.who} had written most there: {mib(wrote)}"
        # What fits there is not known: others may have filled it before anybody looked.
        if who is not actor:
            culprit = process_culprit(who)
        text = f"{who.who} wrote {mib(wrote)} to that file system, among others to {use.path}."
        evidence.append(supports("fs.enospc.largest_writer", SOME, text, facts_of_use(use)))
    summary = f"The file system of {what or 'a file'} was full when {actor.who} wrote to it{by}."
    return Candidate(
        cause="fs.enospc",
        culprit=culprit,
        summary=summary,
        remedy=f"Free or add space on the file system of {what or 'that file'}{by}.",
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=first.first_boottime_ns,
        harms_without_failure=True,
    )


def _filler(
    case: Case, victim: ProcessSnapshot, path: str
) -> tuple[int, tuple[ProcessSnapshot, int, Use] | None]:
    device = device_of(case, path)
    by: dict[ProcessSnapshot, tuple[int, Use]] = {}
    for actor in case:
        for use in actor.uses:
            if use.writing and use.key[0] == device and use.written_bytes and not use.inherited:
                total, largest = by.get(actor, (0, use))
                by[actor] = (
                    total + use.written_bytes,
                    max(use, largest, key=lambda u: u.written_bytes),
                )
    if not by:
        return device, None
    who = max(by, key=lambda a: (by[a][0], a is not victim))
    if by[who][0] < _MATTERS_BYTES:
        return device, None
    return device, (who, *by[who])


CARD = cause_class(
    name="fs.enospc",
    title="a file system was full",
    predicts="a write that failed with ENOSPC",
    rivals="fs.inodes_quota mem.shm_full fs.eacces",
    tag="free_space",
    fix=(
        "Free or add space on that file system, or use another one. The report names "
        "the largest writer."
    ),
    needs="call_failed",
    spreads=True,
    brings=(
        to("fs.truncated", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
    ),
    find=(full_disks,),
)
