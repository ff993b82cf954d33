"""Causes of an exit: crashes, masked failures, programs that never start, and process limits."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator

from receiver.events import CallKind, Crash, Signal
from receiver.investigate.case import Case
from receiver.investigate.causes.common import died_of, shells
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
from receiver.text.names import signal_name

_FAULTS = {
    signal.SIGSEGV: "crash.segv",
    signal.SIGBUS: "crash.segv",
    signal.SIGABRT: "crash.abort_ill",
    signal.SIGILL: "crash.abort_ill",
    signal.SIGFPE: "crash.abort_ill",
}
_MANY_DEAD = 20
LONG_NS = 100_000_000


def crashes(case: Case) -> Iterator[Candidate]:
    """Finds fatal signals that a process raised itself, by a fault or by abort(3)."""
    for actor in case:
        event = died_of(actor)
        if (
            event is None
            or event.signal not in _FAULTS
            or not (event.sender == actor.key or event.code > 0)
        ):
            continue
        if actor.end.code > 128 and not actor.end.signal and shells(actor):
            continue  # a shell returns the exit status of its child
        cause = _FAULTS[signal.Signals(event.signal)]
        how = "a fault in its own code" if event.code > 0 else "it sent the signal to itself"
        text = (
            f"{actor.who} was killed by {signal_name(event.signal)}: {how} (si_code {event.code})."
        )
        evidence = [
            supports("crash.fault.killed_by_signal", STRONG, text, [fact(event), *ends(actor)])
        ]
        evidence += _other_reasons(actor, event)
        where = ""
        if actor.crash is not None and actor.crash.signal == event.signal:
            evidence.append(_place_of(actor.crash))
            module = actor.crash.module
            where = f" in {module.rpartition('/')[2]}" if module else ""
        summary = f"{actor.who} crashed with {signal_name(event.signal)}{where}."
        yield Candidate(
            cause=cause,
            culprit=process_culprit(actor),
            summary=summary,
            remedy=(
                f"Pin or upgrade {actor.crash.module}, in which the thread stood, and report the "
                "crash to its authors."
                if actor.crash is not None and actor.crash.module
                else ""
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=event.time_boottime_ns,
        )


def _other_reasons(actor: ProcessSnapshot, event: Signal) -> list[Evidence]:
    """Returns what speaks for another reason than its own code."""
    out = []
    if event.signal == signal.SIGBUS:
        text = "SIGBUS is caused by the memory behind a mapping, not by the code."
        out.append(contradicts("crash.fault.is_sigbus", SOME, text, [fact(event)]))
    if any(c.call == CallKind.MEMORY and c.error == errno.ENOMEM for c in actor.calls):
        text = "One of its memory allocations had failed before."
        out.append(
            contradicts("crash.fault.allocation_failed_before", SOME, text, facts(*actor.calls[:1]))
        )
    return out


def _place_of(crash: Crash) -> Evidence:
    at = (
        f"{crash.module}, offset {crash.module_offset:#x}"
        if crash.module
        else f"address {crash.address:#x}"
    )
    text = f"Its thread {crash.thread} ({crash.comm}) was at {at}."
    return supports("crash.fault.at_place", SLIGHT, text, facts(crash))


def refused_clones(case: Case) -> Iterator[Candidate]:
    """Finds EAGAIN of clone, because of a limit or of unreaped children."""
    for actor in case:
        clones = [
            c
            for c in actor.calls
            if c.call == CallKind.CLONE and c.error in (errno.EAGAIN, errno.ENOMEM)
        ]
        if clones:
            yield _pids(case, actor, clones[0].first_boottime_ns, facts(*clones[:2]))


def _pids(case: Case, actor: ProcessSnapshot, at_ns: int, shown: tuple[Fact, ...]) -> Candidate:
    """Names the process with most threads, living children or unreaped children."""
    here = [a for a in case if a.start_ns <= at_ns and (not a.end_ns or a.end_ns >= at_ns)]
    dead = {
        a.key: a.collapsed + sum(1 for c in case.children(a) if c.end_ns and c.end_ns < at_ns)
        for a in here
    }
    living = {a.key: sum(1 for c in case.children(a) if c in here) for a in here}
    evidence = [
        supports(
            "lim.pids.fork_refused",
            STRONG,
            f"{actor.who} could not create a process or thread (EAGAIN).",
            shown,
        )
    ]
    holder = max(here, key=lambda a: (dead[a.key], -a.pid), default=actor)
    if dead.get(holder.key, 0) >= _MANY_DEAD and dead[holder.key] > 2 * len(here):
        text = (
            f"{dead[holder.key]} children of {holder.who} had ended and were not reaped, and only "
            f"{len(here)} processes were running."
        )
        evidence.append(supports("proc.zombies.not_reaped", CLEAR, text, [*ends(holder), *shown]))
        return _unreaped(actor, holder, dead[holder.key], at_ns, evidence)
    counts = {a.key: max(living[a.key], _threads(a)) for a in here}
    most = max(here, key=lambda a: (counts[a.key], -a.pid), default=actor)
    text = f"{most.who} had {counts.get(most.key, 0)} processes or threads."
    evidence.append(supports("lim.pids.most_processes", SLIGHT, text, ends(most) or shown))
    summary = f"A limit on processes was reached: {most.who} had {counts.get(most.key, 0)} of them."
    return Candidate(
        cause="lim.pids",
        culprit=process_culprit(most),
        summary=summary,
        remedy=(
            f"Raise the pids limit, or let {most.who} start fewer than {counts.get(most.key, 0)} "
            "processes and threads."
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=at_ns,
        harms_without_failure=True,
    )


def _unreaped(
    actor: ProcessSnapshot,
    holder: ProcessSnapshot,
    number: int,
    at_ns: int,
    evidence: list[Evidence],
) -> Candidate:
    return Candidate(
        cause="proc.zombies",
        culprit=process_culprit(holder),
        summary=(
            f"{holder.who} did not reap {number} ended children, until no process could be created."
        ),
        remedy=(
            f"Let {holder.who} reap its children (wait(), or an init such as tini as pid 1): "
            f"{number} had not been reaped."
        ),
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=at_ns,
        harms_without_failure=True,
    )


def _threads(actor: ProcessSnapshot) -> int:
    return (
        actor.usage.last.threads if actor.usage is not None and actor.usage.last is not None else 0
    )
