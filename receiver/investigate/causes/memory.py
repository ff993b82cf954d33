"""Causes in memory: which process used it, and which limit was reached."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator

from receiver.events import CallKind
from receiver.investigate.case import Case
from receiver.investigate.causes.common import died_of, progress
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    Fact,
    contradicts,
    ends,
    fact,
    fact_of_point,
    facts,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import error_name, mib, times
from receiver.units import MIB, SECOND

_NEAR = 0.85  # of a limit: memory above this share is close to it
_PLATEAU = 0.05
# SparkExitCode.OOM, ExitOnOutOfMemoryError, and a heartbeat failure.
_HEAP_EXITS = {
    52: CLEAR + SOME,
    3: CLEAR,
    56: SLIGHT,
}
_SHARED = ("/dev/shm/", "/run/shm/")  # noqa: S108 (names to look for, nothing is written there)
SIGBUS_ADDRESS = 2  # BUS_ADRERR, sigaction(2)


def on_processes(victim: ProcessSnapshot) -> str:
    return f" while it worked on {victim.partition}" if victim.partition else ""


def heaps(case: Case) -> Iterator[Candidate]:
    """Finds programs that exited by themselves at a plateau of memory.

    Their cgroup still had room.
    """
    for actor in case:
        if not actor.failed or actor.end.signal or actor.oom is not None:
            continue
        java = actor.name == "java"
        dump = next((u for u in actor.uses if u.path.endswith(".hprof") and u.writing), None)
        weight = _HEAP_EXITS.get(actor.end.code, 0.0) if java else 0.0
        refused = any(c.call == CallKind.MEMORY for c in actor.calls)
        if refused or not (weight or dump or (java and actor.end.code == 1 and _plateau(actor))):
            continue
        evidence = []
        if weight:
            text = (
                f"{actor.who} exited by itself with status {actor.end.code}, which a JVM "
                'uses for "out of memory"; no signal was sent.'
            )
            evidence.append(supports(weight, text, ends(actor)))
        if dump is not None:
            text = f"It wrote a heap dump: {dump.path}."
            evidence.append(supports(CLEAR, text, facts_of_use(dump)))
        evidence += _shape_of_heap(actor)
        summary = (
            f"{actor.who} reached its own heap limit at {mib(actor.peak_bytes)} and exited "
            f"with status {actor.end.code}{on_processes(actor)}."
        )
        yield Candidate(
            cause="mem.app_heap",
            culprit=process_culprit(actor),
            summary=summary,
            remedy=_larger_heap(actor),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=actor.end_ns,
        )


def _larger_heap(actor: ProcessSnapshot) -> str:
    set_by = next((a for a in actor.argv if a.startswith(("-Xmx", "--max-old-space-size"))), "")
    named = f" ({set_by})" if set_by else ""
    return (
        f"Raise the heap limit of {actor.who}{named}: it reached it at a resident set of "
        f"{mib(actor.peak_bytes)}. Or split its work."
    )


def _shape_of_heap(actor: ProcessSnapshot) -> list[Evidence]:
    """Returns evidence from its samples: a plateau, a busy collector, room in its cgroup."""
    out = []
    if _plateau(actor):
        text = f"Its memory had stopped growing at {mib(actor.rss_bytes)}."
        out.append(supports(SOME, text, _points(actor)[-3:]))
    busy = progress(actor)
    if actor.name == "java" and busy is not None and busy > 0.8:
        text = (
            f"It used {busy:.1f} CPUs until its end, as the garbage collection of a full heap does."
        )
        out.append(supports(SLIGHT, text, ends(actor)))
    limit = actor.limit_bytes
    if limit and actor.usage is not None and actor.usage.last is not None:
        used = actor.usage.last.memory_usage_bytes
        text = f"Its cgroup used {mib(used)} of {mib(limit)}."
        make = supports if used < _NEAR * limit else contradicts
        out.append(make(SLIGHT, text, [fact(actor.usage.last)]))
    return out


def _points(actor: ProcessSnapshot) -> list[Fact]:
    return [
        fact_of_point(actor.pid, actor.name, p)
        for p in (actor.usage.curve.points if actor.usage is not None else ())
    ]


def _plateau(actor: ProcessSnapshot) -> bool:
    recent = actor.usage.recent if actor.usage is not None else ()
    if len(recent) < 3:
        return False
    values = [v for _, v in recent[-3:]]
    return max(values) - min(values) <= _PLATEAU * max(values) and max(values) > 32 * MIB


def memory_limits(case: Case) -> Iterator[Candidate]:
    """Finds refused calls of mmap, brk or mremap.

    The limit is the process's own, because a full cgroup causes an OOM kill instead. Where the
    kernel half looked the limits up, receiver.investigate.causes.refused_memory decides.
    """
    for actor in case:
        calls = [c for c in actor.calls if c.call == CallKind.MEMORY and c.error == errno.ENOMEM]
        if not calls or not actor.failed or actor.moments.refused:
            continue
        evidence = [
            supports(
                STRONG,
                f"Memory allocations of {actor.who} failed {times(calls[0].failures)}.",
                facts(*calls),
            )
        ]
        if actor.oom is not None:
            evidence.append(
                contradicts(STRONG, "The kernel's OOM killer killed it.", facts(actor.oom))
            )
        if actor.end.signal == 0 or actor.end.signal == signal.SIGABRT:
            evidence.append(
                supports(SOME, f"It then ended by itself: it {actor.end.words}.", ends(actor))
            )
        summary = (
            f"{actor.who} reached the limit of its own address space (peak "
            f"{mib(actor.peak_bytes)}): mmap or brk failed with ENOMEM."
        )
        yield Candidate(
            cause="mem.rlimit",
            culprit=process_culprit(actor),
            summary=summary,
            remedy=(
                f"Raise the limit of the address space of {actor.who} (ulimit -v, RLIMIT_AS): its "
                f"resident set was {mib(actor.peak_bytes)} at most. Or use less memory."
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=calls[0].first_boottime_ns,
        )


def thrashing(case: Case) -> Iterator[Candidate]:
    for actor in case:
        usage = actor.usage
        lasted = usage.pressed_ns.get("faults", 0) if usage is not None else 0
        if usage is None or lasted < 3 * SECOND:
            continue
        _, look = usage.worst["faults"]
        first = usage.first or look
        reread = look.read_bytes - first.read_bytes - (look.read_call_bytes - first.read_call_bytes)
        text = (
            f"For {lasted / 1e9:.0f} s {actor.who} read pages back from storage at the limit of "
            "its memory: "
            f"{look.major_faults - first.major_faults} major faults, {mib(max(0, reread))} without "
            "a read call."
        )
        evidence = [supports(STRONG, text, [fact(first), fact(look)])]
        if look.memory_failures > first.memory_failures:
            text = (
                "Meanwhile its memory cgroup reached the limit "
                f"{times(look.memory_failures - first.memory_failures)}, and no process "
                "was killed."
            )
            evidence.append(supports(SLIGHT, text, [fact(look)]))
        if actor.oom is not None:
            evidence.append(contradicts(SOME, "It ended in an OOM kill.", facts(actor.oom)))
        summary = (
            f"{actor.who} thrashed for {lasted / 1e9:.0f} s: it used "
            f"{mib(look.memory_usage_bytes)} of {mib(look.memory_limit_bytes)}."
        )
        yield Candidate(
            cause="mem.thrash",
            culprit=process_culprit(actor),
            summary=summary,
            remedy=(
                f"Raise the memory limit of {actor.memory_cgroup or 'its cgroup'} above "
                f"{mib(look.memory_limit_bytes)}, or let {actor.who} map less."
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=look.time_boottime_ns,
            harms_without_failure=True,
        )


def shared_memory(case: Case) -> Iterator[Candidate]:
    """Finds SIGBUS on a page of a full tmpfs, and ENOSPC below /dev/shm."""
    for actor in case:
        event = died_of(actor)
        full = [c for c in actor.calls if c.error == errno.ENOSPC and c.path.startswith(_SHARED)]
        bus = event is not None and event.signal == signal.SIGBUS and event.code == SIGBUS_ADDRESS
        bus = bus and actor.moments.fault is None
        if not bus and not (full and actor.failed):
            continue
        mapped = [u for u in actor.uses if u.writing and _is_memory_file(u.path)]
        mapped += [
            u
            for u in actor.uses
            if u.writing and u not in mapped and u.size_bytes > u.written_bytes
        ]
        evidence = []
        if bus and event is not None:
            text = f"{actor.who} was killed by SIGBUS (no page behind the address)."
            evidence.append(supports(CLEAR, text, [fact(event), *ends(actor)]))
        if full:
            text = f"{full[0].path}: {error_name(full[0].error)}."
            evidence.append(supports(STRONG, text, facts(*full)))
        culprit = process_culprit(actor)
        if mapped:
            use = max(mapped, key=lambda u: (_is_memory_file(u.path), u.size_bytes, u.path))
            text = (
                f"It had mapped {use.path}: {mib(use.size_bytes)}, of which "
                f"{mib(use.written_bytes)} were written."
            )
            evidence.append(
                supports(CLEAR if _is_memory_file(use.path) else SOME, text, facts_of_use(use))
            )
            culprit = Culprit(type="file", path=use.path, inode=use.key[1], device=use.key[0])
        elif full:
            culprit = Culprit(type="file", path=full[0].path)
        summary = (
            f"Shared memory was full: {actor.who} could not use {culprit.path or 'its mapping'}."
        )
        yield Candidate(
            cause="mem.shm_full",
            culprit=culprit,
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=actor.end_ns,
        )


def _is_memory_file(path: str) -> bool:
    return path.startswith((*_SHARED, "/memfd:")) or "shm" in path


CAUSES = (heaps, memory_limits, thrashing, shared_memory)
