"""Causes in memory: which process used it, and which limit was reached."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator

from receiver.events import CallKind
from receiver.investigate.case import Case
from receiver.investigate.causes.common import died_of
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    contradicts,
    ends,
    fact,
    facts,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import error_name, mib, times

_SHARED = ("/dev/shm/", "/run/shm/")  # noqa: S108 (names to look for, nothing is written there)
SIGBUS_ADDRESS = 2  # BUS_ADRERR, sigaction(2)


def on_processes(victim: ProcessSnapshot) -> str:
    return f" while it worked on {victim.partition}" if victim.partition else ""


def memory_limits(case: Case) -> Iterator[Candidate]:
    """Finds refused calls of mmap, brk or mremap.

    The limit is the process's own, because a full cgroup causes an OOM kill instead. Where the
    kernel half looked the limits up, receiver.investigate.causes.refused_memory decides.
    """
    for actor in case:
        calls = [c for c in actor.calls if c.call == CallKind.MEMORY and c.error == errno.ENOMEM]
        if not calls or not actor.failed or actor.moments.refused:
            continue
        text = f"Memory allocations of {actor.who} failed {times(calls[0].failures)}."
        evidence = [supports("mem.limit.allocations_failed", STRONG, text, facts(*calls))]
        if actor.oom is not None:
            text = "The kernel's OOM killer killed it."
            evidence.append(contradicts("mem.limit.oom_killed", STRONG, text, facts(actor.oom)))
        if actor.end.signal == 0 or actor.end.signal == signal.SIGABRT:
            text = f"It then ended by itself: it {actor.end.words}."
            evidence.append(supports("mem.limit.then_ended", SOME, text, ends(actor)))
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
            shown = [fact(event), *ends(actor)]
            evidence.append(supports("mem.shm_full.killed_by_sigbus", CLEAR, text, shown))
        if full:
            text = f"{full[0].path}: {error_name(full[0].error)}."
            evidence.append(supports("mem.shm_full.call_refused", STRONG, text, facts(*full)))
        culprit = process_culprit(actor)
        if mapped:
            use = max(mapped, key=lambda u: (_is_memory_file(u.path), u.size_bytes, u.path))
            text = (
                f"It had mapped {use.path}: {mib(use.size_bytes)}, of which "
                f"{mib(use.written_bytes)} were written."
            )
            weight = CLEAR if _is_memory_file(use.path) else SOME
            evidence.append(supports("mem.shm_full.mapped", weight, text, facts_of_use(use)))
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
