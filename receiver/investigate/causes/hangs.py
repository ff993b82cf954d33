"""Processes that wait for ever: locks held over a fork, full pipes, a collector that never ends."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.calls import call_name
from receiver.events import ThreadWait, WaitObject
from receiver.facts.waits import IdlePeriod
from receiver.investigate.case import Case
from receiver.investigate.causes.common import HANG_NS, died_of, progress, sent_by_process
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Evidence,
    Fact,
    contradicts,
    ends,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import frames_of, wait_of
from receiver.units import MIB, SECOND


def hangs(case: Case) -> Iterator[Candidate]:
    """Finds long idle periods and the reason for the wait."""
    for actor in case:
        idle_period = actor.usage.idle_period if actor.usage is not None else None
        if idle_period is None or idle_period.ns < HANG_NS or not idle_period.waits:
            continue
        if (
            actor.end_ns
            and actor.end_ns - (idle_period.since_ns + idle_period.ns) > 3 * SECOND
            and not actor.failed
        ):
            continue  # it continued and succeeded
        yield from _fork_lock(case, actor, idle_period)
        yield from _pipe(case, actor, idle_period)


def _ended_by(actor: ProcessSnapshot) -> list[Evidence]:
    event = died_of(actor)
    if event is None or not sent_by_process(actor, event):
        return []
    return [
        supports(
            SLIGHT, f"{event.sender_comm} ({event.sender.tgid}) ended it in the end.", [fact(event)]
        )
    ]


def _stands(idle_period: IdlePeriod, wait: ThreadWait) -> tuple[str, tuple[Fact, ...]]:
    """Describes the wait in the kernel as a part of a sentence, with the event that shows it."""
    stack = idle_period.stack(wait)
    frames = frames_of(stack) if stack is not None else ()
    return (
        (f" It waits in the kernel's {' < '.join(frames[:4])}.", facts(stack))
        if frames
        else ("", ())
    )


def _fork_lock(case: Case, actor: ProcessSnapshot, idle_period: IdlePeriod) -> Iterator[Candidate]:
    waits, idle = idle_period.waits, idle_period.ns
    locks = [w for w in waits if wait_of(w) == "futex" and not w.timed]
    if not locks or actor.execs or len(waits) > 1:
        return
    where, shown = _stands(idle_period, locks[0])
    text = (
        f"{actor.who} has been inactive for {idle / 1e9:.0f} s: its only thread waits for "
        f"a lock without a timeout.{where}"
    )
    parent = case.get(actor.parent)
    evidence = [supports(CLEAR + SLIGHT, text, [*facts(*locks[:2]), *shown])]
    evidence += _lost_threads(actor, parent)
    evidence += _ended_by(actor)
    reader = _reads_for_all(case, actor)
    if reader is not None:
        its_spell = reader.usage.idle_period if reader.usage is not None else None
        at_pipe = facts(*its_spell.waits[:1]) if its_spell is not None else ()
        text = (
            f"{reader.who}, forked by the same parent, holds the lock and waits at a pipe "
            "for work: a pool without work."
        )
        evidence.append(contradicts(STRONG, text, at_pipe))
    summary = (
        f"{actor.who}, forked from "
        f"{parent.who if parent is not None else 'a threaded parent'}, waits forever for a "
        "lock."
    )
    yield Candidate(
        cause="hang.fork_lock",
        culprit=process_culprit(actor),
        summary=summary,
        remedy=(
            f"Let {parent.who} start its children with spawn or forkserver, not with fork."
            if parent is not None
            else ""
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=locks[0].time_boottime_ns,
        harms_without_failure=True,
    )


def _lost_threads(actor: ProcessSnapshot, parent: ProcessSnapshot | None) -> list[Evidence]:
    """Returns evidence that no thread of the process can release its lock."""
    last = actor.usage.last if actor.usage is not None else None
    forked = actor.moments.forked
    usage = parent.usage if parent is not None else None
    before = usage.first if usage is not None else None
    if before is not None and before.time_boottime_ns > actor.start_ns:
        before = None  # a later sample counts threads that came after the fork
    threads = forked.threads if forked is not None else before.threads if before is not None else 0
    if threads > 1:
        text = (
            f"It was forked, without an exec, from a process that had {threads} threads then. The "
            "thread that held the lock does not exist in it."
        )
        return [supports(CLEAR, text, facts(forked or before))]
    if last is not None and last.threads == 1:
        text = "It has one thread: no other thread in it can release the lock."
        return [supports(SOME, text, facts(last))]
    return []


def _reads_for_all(case: Case, actor: ProcessSnapshot) -> ProcessSnapshot | None:
    """Returns the worker of a pool that waits at the queue of the pool.

    The other workers wait for a lock that it holds, as in multiprocessing's SimpleQueue.
    """
    parent = case.get(actor.parent)
    for other in case.children(parent) if parent is not None else ():
        idle_period = other.usage.idle_period if other.usage is not None else None
        if other is actor or other.execs or idle_period is None:
            continue
        if any(
            w.waits_on == WaitObject.PIPE and call_name(w.call_number) in ("read", "readv")
            for w in idle_period.waits
        ):
            return other
    return None


def _pipe(case: Case, actor: ProcessSnapshot, idle_period: IdlePeriod) -> Iterator[Candidate]:
    waits, idle = idle_period.waits, idle_period.ns
    pipes = [
        w
        for w in waits
        if w.waits_on == WaitObject.PIPE
        and not w.timed
        and call_name(w.call_number) in ("write", "writev", "splice")
    ]
    for wait in pipes[:1]:
        where, shown = _stands(idle_period, wait)
        text = (
            f"{actor.who} has waited for {idle / 1e9:.0f} s to write to a pipe that no "
            f"process reads.{where}"
        )
        evidence = [supports(CLEAR + SLIGHT, text, [*facts(wait), *shown])]
        others = [
            a
            for a in (case.get(actor.parent), *case)
            if a is not None and a is not actor and _waits_for(a, actor, wait)
        ]
        if others:
            other = others[0]
            theirs = other.usage.idle_period if other.usage is not None else None
            text = f"{other.who}, at the other end, waits for it or for another pipe of it."
            evidence.append(
                supports(CLEAR, text, facts(*(theirs.waits[:2] if theirs is not None else ())))
            )
        evidence += _ended_by(actor)
        reader = others[0] if others else case.get(actor.parent)
        culprit = process_culprit(reader) if reader is not None else process_culprit(actor)
        summary = (
            f"{actor.who} waits to write to a pipe, and "
            f"{reader.who if reader is not None else 'its reader'} does not read it."
        )
        yield Candidate(
            cause="hang.pipe_full",
            culprit=culprit,
            summary=summary,
            remedy=(
                f"Let {reader.who} read the output of {actor.who} while it runs (communicate(), a "
                "thread for each pipe), or write it to a file."
                if reader is not None
                else ""
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=wait.time_boottime_ns,
            harms_without_failure=True,
        )


def _waits_for(other: ProcessSnapshot, actor: ProcessSnapshot, wait: ThreadWait) -> bool:
    idle_period = other.usage.idle_period if other.usage is not None else None
    if idle_period is None:
        return False
    for theirs in idle_period.waits:
        kind = wait_of(theirs)
        if kind == "child" and (theirs.child in (0, actor.pid)):
            return True
        if theirs.waits_on == WaitObject.PIPE and other.key == actor.parent:
            return True
    return wait.inode != 0 and wait.inode in (other.stdin_inode, other.stdout_inode)


def collector(case: Case) -> Iterator[Candidate]:
    """Finds a busy JVM with its memory at a plateau and no I/O, until another process kills it."""
    for actor in case:
        usage = actor.usage
        if actor.name != "java" or usage is None or usage.last is None or len(usage.recent) < 4:
            continue
        busy = progress(actor, 1 << 62) or 0.0
        values = [v for _, v in usage.recent[-4:]]
        flat = max(values) - min(values) <= 0.05 * max(values)
        last, first = usage.last, usage.first or usage.last
        moved = (
            last.read_call_bytes
            + last.write_call_bytes
            - first.read_call_bytes
            - first.write_call_bytes
        )
        event = died_of(actor)
        given_up = actor.end.code == 56 or (event is not None and sent_by_process(actor, event))
        if busy < 0.8 or not flat or moved > MIB or not (given_up or actor.exit is None):
            continue
        text = (
            f"{actor.who} used {busy:.1f} CPUs while its memory was constant, and "
            f"transferred {moved} bytes."
        )
        evidence = [supports(CLEAR, text, [fact(first), fact(last)])]
        if actor.end.code == 56:
            evidence.append(
                supports(
                    CLEAR,
                    ("It exited with status 56, which Spark uses for lost heartbeats."),
                    ends(actor),
                )
            )
        elif event is not None:
            text = f"{event.sender_comm} ({event.sender.tgid}) then ended it."
            evidence.append(supports(SOME, text, [fact(event)]))
        summary = (
            f"{actor.who} spent its time on garbage collection: it used {busy:.1f} CPUs "
            "and transferred no data."
        )
        yield Candidate(
            cause="hang.gc_stall",
            culprit=process_culprit(actor),
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=last.time_boottime_ns,
        )


CAUSES = (hangs, collector)
