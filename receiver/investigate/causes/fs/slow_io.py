"""The cause card fs.slow_io."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.causes.memory_waits import waits_for_memory
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    contradicts,
    facts,
    facts_of_use,
    file_culprit,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.units import SECOND
from receiver.work.tables import Use

UNINTERRUPTIBLE = 2  # TASK_UNINTERRUPTIBLE, include/linux/sched.h


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
        text = f"{actor.who} waited for storage for {lasted / 1e9:.0f} s in uninterruptible sleep."
        weight = CLEAR + SOME if stuck else CLEAR
        evidence = [supports("fs.slow_io.uninterruptible", weight, text, shown)]
        if "faults" in usage.worst:
            text = "It read its own pages back at the limit of its memory."
            look = facts(usage.worst["faults"][1])
            evidence.append(contradicts("fs.slow_io.own_pages", CLEAR, text, look))
        use = _stuck_at(actor, {w.inode for w in stuck if w.inode})
        if use is not None:
            text = f"It had {use.path} open."
            evidence.append(supports("fs.slow_io.file_open", SLIGHT, text, facts_of_use(use)))
        culprit = file_culprit(use) if use is not None else process_culprit(actor)
        where = f" at {culprit.path}" if culprit.path else ""
        summary = f"Storage stalled: {actor.who} waited {lasted / 1e9:.0f} s{where}."
        yield Candidate(
            goes_on=bool(stuck) and actor.exit is None,
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


CARD = cause_class(
    name="fs.slow_io",
    title="storage stalled",
    predicts="threads that waited for storage in uninterruptible sleep",
    rivals="mem.thrash cpu.neighbour net.silent_peer",
    tag="check_storage",
    fix="Check the device or its I/O limit. Nothing in the process itself was slow.",
    needs="process_sample",
    nature=Nature.DELAY,
    brings=(
        to("kill.supervisor kill.timeout_orphan kill.heartbeat", Via.ANCESTOR),
        to("net.silent_peer", Via.CONNECTION_ENDS),
    ),
    find=(slow,),
)
