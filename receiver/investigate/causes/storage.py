"""Causes in storage: missing rights and slow I/O."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import CallKind, FileChanged, FileOperation
from receiver.investigate.case import Case
from receiver.investigate.causes.memory_waits import waits_for_memory
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Culprit,
    contradicts,
    ends,
    fact,
    facts,
    facts_of_use,
    file_culprit,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name, resolve
from receiver.units import SECOND
from receiver.work.tables import Use

UNINTERRUPTIBLE = 2  # TASK_UNINTERRUPTIBLE, include/linux/sched.h
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


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
            remedy=(
                f"Set the owner or the mode of {path} for uid {actor.uid}, or mount it writable."
            ),
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
        if usage is None or waits_for_memory(actor):
            continue
        idle_period = usage.idle_period
        stuck = [
            w
            for w in (idle_period.waits if idle_period is not None else ())
            if w.thread_state & UNINTERRUPTIBLE
        ]
        lasted = max(
            usage.pressed_ns.get("disk", 0),
            idle_period.ns if stuck and idle_period is not None else 0,
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
        goes_on = bool(stuck) and actor.exit is None
        yield Candidate(
            goes_on=goes_on,
            cause="fs.slow_io",
            culprit=culprit,
            summary=summary,
            remedy=(
                f"Check the device of {culprit.path or 'its files'} or its I/O limit: {actor.who} "
                f"waited {lasted / 1e9:.0f} s for it."
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=shown[0].at_ns,
            harms_without_failure=True,
        )


def _stuck_at(actor: ProcessSnapshot, inodes: set[int]) -> Use | None:
    """Returns the file that the process waited for, or else the file that it used most."""
    busy = [u for u in actor.uses if u.written_bytes or u.read_bytes or u.open]
    return max(
        busy,
        key=lambda u: (u.key[1] in inodes, u.writing, u.written_bytes + u.read_bytes, u.path),
        default=None,
    )


CAUSES = (denied, slow)
