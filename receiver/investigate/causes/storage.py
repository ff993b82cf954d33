"""Causes in storage: full devices, locks, missing rights and slow I/O."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from receiver.events import CallFailed, CallKind, FileChanged, FileOperation
from receiver.facts.files import Use
from receiver.investigate.case import Case, ProcessSnapshot
from receiver.investigate.causes.common import SECOND
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    contradicts,
    ends,
    fact,
    facts,
    facts_of_use,
    file_culprit,
    process_culprit,
    supports,
)
from receiver.text.event_text import subject_of
from receiver.text.names import error_name, mib, resolve

UNINTERRUPTIBLE = 2  # TASK_UNINTERRUPTIBLE, include/linux/sched.h
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def full(case: Case) -> Iterator[Candidate]:
    """Finds ENOSPC and EDQUOT: no space, no inodes, or an exceeded quota.

    The culprit is the process that wrote most to that device.
    """
    for actor in case:
        calls = [
            c
            for c in actor.calls
            if c.error in (errno.ENOSPC, errno.EDQUOT) and not c.path.startswith("/dev/shm/")  # noqa: S108 (only compared)
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
        base = [
            supports(
                STRONG,
                f"{actor.who} got {error_name(first.error)} on {what or 'a file'}.",
                facts(*calls[:3]),
            )
        ]
        if actor.failed:
            base.append(supports(SLIGHT, f"It then {actor.end.words}.", ends(actor)))
        quota = any(c.error == errno.EDQUOT for c in calls) or (
            creates and not writes and not _writes_failed(case)
        )
        device, filler = _filler(case, actor, what)
        if quota:
            made = _made(case, what)
            text = "Files could not be created, and no write failed for lack of space."
            evidence = [*base, supports(CLEAR, text, facts(*creates[:2]))]
            if made is not None:
                culprit, number = made, sum(1 for u in made.uses if u.created)
                evidence.append(
                    supports(SLIGHT, f"{made.who} created {number} files there.", ends(made))
                )
                yield Candidate(
                    cause="fs.inodes_quota",
                    culprit=process_culprit(culprit),
                    summary=(
                        f"No inode or quota was left for {what}; {made.who} created most "
                        "files there."
                    ),
                    evidence=tuple(evidence),
                    subject=actor.key,
                    at_ns=first.first_boottime_ns,
                    silent=True,
                )
            else:
                summary = f"No inode or quota was left for {what}."
                yield Candidate(
                    cause="fs.inodes_quota",
                    culprit=Culprit(type="file", path=what),
                    summary=summary,
                    evidence=tuple(evidence),
                    subject=actor.key,
                    at_ns=first.first_boottime_ns,
                    silent=True,
                )
            continue
        yield _enospc(actor, first, what=what, base=base, device=device, filler=filler)


def _enospc(
    actor: ProcessSnapshot,
    first: CallFailed,
    *,
    what: str,
    base: list[Evidence],
    device: int,
    filler: tuple[ProcessSnapshot, int, Use] | None,
) -> Candidate:
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
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=first.first_boottime_ns,
        silent=True,
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
    counts = {a: n + (a.folded and 0) for a, n in counts.items() if n}
    return max(counts, key=lambda a: (counts[a], a.pid)) if counts else None


def locks(case: Case) -> Iterator[Candidate]:
    """Finds refused locks with their holder, and lock files that a killed process left behind."""
    for actor in case:
        calls = [
            c
            for c in actor.calls
            if c.call == CallKind.LOCK and c.error in (errno.EAGAIN, errno.EACCES)
        ]
        gave_up = (
            actor.failed
            and actor.end.code < 128
            and calls
            and actor.end_ns - calls[-1].last_boottime_ns < 10 * SECOND
        )
        if gave_up:
            call = calls[-1]
            what = subject_of(call)
            evidence = [
                supports(
                    CLEAR,
                    f"{actor.who} was refused a lock on {what or 'a file'}.",
                    facts(*calls[:2]),
                )
            ]
            culprit = Culprit(type="file", path=what)
            if call.holder.tgid:
                holder = case.by_pid(call.holder.tgid, call.first_boottime_ns)
                name = holder.who if holder is not None else f"process {call.holder.tgid}"
                evidence.append(supports(CLEAR, f"{name} held it.", [fact(call)]))
                culprit = (
                    process_culprit(holder)
                    if holder is not None
                    else Culprit(type="process", pid=call.holder.tgid, path=what)
                )
            if actor.failed:
                evidence.append(supports(SOME, f"After that it {actor.end.words}.", ends(actor)))
            summary = (
                f"{actor.who} could not lock {what or 'a file'}: "
                f"{culprit.name or 'process'} ({culprit.pid}) held the lock."
            )
            yield Candidate(
                cause="fs.lock",
                culprit=culprit,
                summary=summary,
                evidence=tuple(evidence),
                subject=actor.key,
                at_ns=call.first_boottime_ns,
            )
        yield from _stale_lock(case, actor)


def _stale_lock(case: Case, actor: ProcessSnapshot) -> Iterator[Candidate]:
    """Finds a process that saw the lock file of a dead process and gave up."""
    if not actor.failed or actor.end.signal:
        return
    for use in actor.uses:
        if not (
            use.reading
            and not use.writing
            and re.search(r"(?i)(^|[./_-])(lock|lck|locks)([./]|$)", use.path)
        ):
            continue
        maker = case.get(use.source.writer.key) if use.source is not None else None
        if use.source is not None and maker is not None and (maker.end.signal or maker.failed):
            text = (
                f"{maker.who} created {use.path}, ended (it {maker.end.words}) and did not "
                "remove the file."
            )
            evidence = [supports(STRONG, text, [*facts_of_use(use), *ends(maker)])]
            evidence.append(
                supports(SOME, f"{actor.who} read it, and then {actor.end.words}.", ends(actor))
            )
            summary = (
                f"{actor.who} gave up because of the lock file {use.path}, which "
                f"{maker.who} had not removed."
            )
            yield Candidate(
                cause="fs.lock",
                culprit=file_culprit(use),
                summary=summary,
                evidence=tuple(evidence),
                subject=actor.key,
                at_ns=use.first_ns,
            )


def denied(case: Case) -> Iterator[Candidate]:
    """Finds EACCES, EPERM and EROFS for a path, in a process that then failed."""
    for actor in case:
        kinds = (CallKind.OPEN, CallKind.CHANGE, CallKind.WRITE, CallKind.OTHER)
        calls = [c for c in actor.calls if c.error in _DENIED and c.call in kinds and c.path]
        if not calls or not actor.failed or actor.end.signal:
            continue
        call = max(calls, key=lambda c: c.last_boottime_ns)
        path = subject_of(call)
        text = f"{actor.who}, with uid {actor.uid}, got {error_name(call.error)} on {path}."
        evidence = [supports(CLEAR + SLIGHT, text, facts(call))]
        soon = actor.end_ns - call.last_boottime_ns
        if soon < 2 * SECOND:
            text = f"{soon / 1e9:.2f} s later it {actor.end.words}."
            evidence.append(supports(SOME if soon < SECOND else SLIGHT, text, ends(actor)))
        culprit, by = Culprit(type="file", path=path), ""
        if maker := _maker(case, path):
            who, change = maker
            by = f"; {who.who} (uid {who.uid}) had created or changed it"
            evidence.append(
                supports(
                    SOME, f"{who.who}, with uid {who.uid}, created or changed it.", facts(change)
                )
            )
            culprit = Culprit(type="file", path=path, sender=process_culprit(who))
        summary = (
            f"{actor.who} (uid {actor.uid}) has no permission for {path} "
            f"({error_name(call.error)}){by}."
        )
        yield Candidate(
            cause="fs.eacces",
            culprit=culprit,
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=call.first_boottime_ns,
        )


def _maker(case: Case, path: str) -> tuple[ProcessSnapshot, FileChanged] | None:
    kinds = (FileOperation.MKDIR, FileOperation.CHMOD, FileOperation.CHOWN)
    found = [
        (a, c)
        for a in case
        for c in a.changes
        if c.operation in kinds and path.startswith(resolve(c.directory, c.path))
    ]
    return max(found, key=lambda pair: pair[1].time_boottime_ns, default=None)


def slow(case: Case) -> Iterator[Candidate]:
    """Finds threads in uninterruptible sleep, in many samples or during a long idle period."""
    for actor in case:
        usage = actor.usage
        if usage is None:
            continue
        spell = usage.spell
        stuck = [
            w
            for w in (spell.waits if spell is not None else ())
            if w.thread_state & UNINTERRUPTIBLE
        ]
        lasted = max(
            usage.pressed_ns.get("disk", 0), spell.ns if stuck and spell is not None else 0
        )
        shown = facts(*stuck[:2]) or (
            facts(usage.worst["disk"][1]) if "disk" in usage.worst else ()
        )
        if lasted < 4 * SECOND or not shown:
            continue
        weight = CLEAR + SOME if stuck else CLEAR
        evidence = [
            supports(
                weight,
                (
                    f"{actor.who} waited for storage for {lasted / 1e9:.0f} s in "
                    "uninterruptible sleep."
                ),
                shown,
            )
        ]
        if "faults" in usage.worst:
            text = "It read its own pages back at the limit of its memory."
            evidence.append(contradicts(CLEAR, text, [fact(usage.worst["faults"][1])]))
        use = _stuck_at(actor, {w.inode for w in stuck if w.inode})
        if use is not None:
            evidence.append(supports(SLIGHT, f"It had {use.path} open.", facts_of_use(use)))
        culprit = file_culprit(use) if use is not None else process_culprit(actor)
        where = f" at {culprit.path}" if culprit.path else ""
        summary = f"Storage stalled: {actor.who} waited {lasted / 1e9:.0f} s{where}."
        yield Candidate(
            cause="fs.slow_io",
            culprit=culprit,
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=shown[0].at_ns,
            silent=True,
        )


def _stuck_at(actor: ProcessSnapshot, inodes: set[int]) -> Use | None:
    """Returns the file that the process waited for, or else the file that it used most."""
    busy = [u for u in actor.uses if u.written_bytes or u.read_bytes or u.open]
    return max(
        busy,
        key=lambda u: (u.key[1] in inodes, u.writing, u.written_bytes + u.read_bytes, u.path),
        default=None,
    )


CAUSES = (full, locks, denied, slow)
