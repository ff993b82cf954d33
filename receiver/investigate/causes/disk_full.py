"""File systems without room or inodes, and who filled them."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import CallFailed, CallKind
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    ends,
    facts,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name, mib
from receiver.work.tables import Use

_MEMORY = "/dev/shm/"  # noqa: S108 (only compared): mem.shm_full is about it


def full(case: Case) -> Iterator[Candidate]:
    """Finds ENOSPC and EDQUOT: no space, no inodes, or an exceeded quota.

    The culprit is the process that wrote most to that device.
    """
    for actor in case:
        calls = [
            c
            for c in actor.calls
            if c.error in (errno.ENOSPC, errno.EDQUOT)
            and c.call != CallKind.WATCH  # the limit of inotify
            and not c.path.startswith(_MEMORY)
        ]
        if not calls:
            continue
        creates = [c for c in calls if c.call in (CallKind.OPEN, CallKind.CHANGE)]
        writes = [
            c
            for c in calls
            if c.call in (CallKind.WRITE, CallKind.SYNC) or c.call == CallKind.OTHER
        ]
        first = calls[0]
        what = subject_of(first)
        text = f"{actor.who} got {error_name(first.error)} on {what or 'a file'}."
        base = [supports(STRONG, text, facts(*calls[:3]))]
        if actor.failed:
            base.append(supports(SLIGHT, f"It then {actor.end.words}.", ends(actor)))
        if any(c.error == errno.EDQUOT for c in calls) or (
            creates and not writes and not _writes_failed(case)
        ):
            yield _no_inodes(case, actor, first, base=base, creates=creates)
        else:
            yield _enospc(case, actor, first, base)


def _no_inodes(
    case: Case,
    actor: ProcessSnapshot,
    first: CallFailed,
    *,
    base: list[Evidence],
    creates: list[CallFailed],
) -> Candidate:
    what = subject_of(first)
    text = "Files could not be created, and no write failed for lack of space."
    evidence = [*base, supports(CLEAR, text, facts(*creates[:2]))]
    culprit = Culprit(type="file", path=what)
    summary = f"No inode or quota was left for {what}."
    made = _made(case, what)
    if made is not None:
        number = sum(1 for u in made.uses if u.created)
        evidence.append(supports(SLIGHT, f"{made.who} created {number} files there.", ends(made)))
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


def _enospc(
    case: Case, actor: ProcessSnapshot, first: CallFailed, base: list[Evidence]
) -> Candidate:
    what = subject_of(first)
    device, filler = _filler(case, actor, what)
    culprit, by = Culprit(type="file", path=what, device=device), ""
    evidence = list(base)
    if filler is not None:
        who, wrote, use = filler
        culprit, by = process_culprit(who), f"; {who.who} had written most there: {mib(wrote)}"
        text = f"{who.who} wrote {mib(wrote)} to that file system, among others to {use.path}."
        evidence.append(supports(SOME, text, facts_of_use(use)))
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


def _writes_failed(case: Case) -> bool:
    return any(
        c.error == errno.ENOSPC and c.call in (CallKind.WRITE, CallKind.SYNC)
        for a in case
        for c in a.calls
    )


def _device_of(case: Case, path: str) -> int:
    """Returns the device of the file, or of the nearest known path."""
    best, length = 0, 0
    for actor in case:
        for use in actor.uses:
            common = len(_common(use.path, path))
            if use.path == path:
                return use.key[0]
            if common > length and use.writing:
                best, length = use.key[0], common
    return best


def _common(one: str, other: str) -> str:
    parts: list[str] = []
    for a, b in zip(one.split("/"), other.split("/"), strict=False):
        if a != b:
            break
        parts.append(a)
    return "/".join(parts)


def _filler(
    case: Case, victim: ProcessSnapshot, path: str
) -> tuple[int, tuple[ProcessSnapshot, int, Use] | None]:
    device = _device_of(case, path)
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
    return device, (who, *by[who])


def _made(case: Case, path: str) -> ProcessSnapshot | None:
    device = _device_of(case, path)
    counts = {a: sum(1 for u in a.uses if u.created and u.key[0] == device) for a in case}
    counts = {a: n + (a.collapsed and 0) for a, n in counts.items() if n}
    return max(counts, key=lambda a: (counts[a], a.pid)) if counts else None


CAUSES = (full,)
