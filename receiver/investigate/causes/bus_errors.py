"""SIGBUS by what was mapped at the address: a file that was cut, full memory, or a device."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from receiver.events import ClosedFlag, Fault, FileChanged, FileOperation, MappingKind
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    Fact,
    context,
    ends,
    fact,
    facts_of_use,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import mib, resolve
from receiver.work.tables import Use

_MEMORY_ERRORS = (4, 5)  # BUS_MCEERR_AR and BUS_MCEERR_AO, sigaction(2)
_SHARED = ("/dev/shm/", "/run/shm/")  # noqa: S108 (names to look for, nothing is written there)


def bus_errors(case: Case) -> Iterator[Candidate]:
    """Finds processes that a page without content killed, and says why it had none."""
    for actor in case:
        fault = actor.moments.fault
        if fault is None or actor.end.signal != signal.SIGBUS:
            continue
        if fault.code in _MEMORY_ERRORS:
            yield _damaged_memory(actor, fault)
        elif fault.mapping_kind in (MappingKind.FILE, MappingKind.MEMORY):
            if fault.offset_bytes >= fault.size_bytes:
                yield _cut(case, actor, fault)
            elif fault.mapping_kind == MappingKind.MEMORY:
                yield _full_memory(actor, fault)
            else:
                yield _unreadable(actor, fault)


def _happened(actor: ProcessSnapshot, fault: Fault) -> Evidence:
    text = (
        f"{actor.who} was killed by SIGBUS at byte {fault.offset_bytes} of {_name(fault)}, which "
        f"had {fault.size_bytes} bytes at that moment."
    )
    return supports("mem.mapping.killed_by_sigbus", STRONG, text, [fact(fault), *ends(actor)])


def _cut(case: Case, actor: ProcessSnapshot, fault: Fault) -> Candidate:
    """The page is behind the end of the file: somebody made the file shorter."""
    evidence = [_happened(actor, fault)]
    who, shown = _who_cut(case, actor, fault)
    culprit = Culprit(type="file", path=fault.path, inode=fault.inode, device=fault.device)
    if who is None:
        summary = (
            f"{actor.who} had {_name(fault)} mapped, and the file had become shorter: it ended "
            f"at {fault.size_bytes} bytes."
        )
        text = "No event of this run shows which process made the file shorter."
        evidence.append(context("mem.mapping.cutter_unseen", text, [fact(fault)]))
    else:
        itself = who.key == actor.key
        whose = "it had mapped itself" if itself else f"{actor.who} had mapped"
        summary = f"{who.who} cut {_name(fault)}, which {whose}: the pages behind the end are gone."
        text = f"{who.who} cut the file{' while it had it mapped' if itself else ''}."
        evidence.append(supports("fs.truncated.cut_while_mapped", CLEAR, text, shown))
        culprit = Culprit(
            type="process",
            name=who.script or who.name,
            pid=who.pid,
            start_boottime_ns=who.start_ns,
            path=fault.path,
            inode=fault.inode,
        )
    return Candidate(
        cause="fs.replaced",
        culprit=culprit,
        summary=summary,
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=fault.time_boottime_ns,
    )


def _who_cut(
    case: Case, victim: ProcessSnapshot, fault: Fault
) -> tuple[ProcessSnapshot | None, tuple[Fact, ...]]:
    """Returns the process that cut the file last before the fault, and what shows it."""
    best: tuple[int, ProcessSnapshot, tuple[Fact, ...]] | None = None
    mapped = next((u for u in victim.uses if u.key == (fault.device, fault.inode)), None)
    since = mapped.first_ns if mapped is not None else 0
    for actor in case:
        for at_ns, shown in _cuts(actor, fault):
            if since < at_ns <= fault.time_boottime_ns and (best is None or at_ns > best[0]):
                best = (at_ns, actor, shown)
    return (None, ()) if best is None else best[1:]


def _cuts(actor: ProcessSnapshot, fault: Fault) -> Iterator[tuple[int, tuple[Fact, ...]]]:
    """Yields when the process cut the file, as far as its openings, closes and calls show it.

    A use that left the file longer than it was at the fault did not cut it.
    """
    for use in actor.uses:
        if use.key != (fault.device, fault.inode) or not use.writing:
            continue
        closed = use.closed
        if closed is not None and closed.size_bytes > fault.size_bytes:
            continue
        if use.emptied is not None:
            yield use.emptied.time_boottime_ns, (fact(use.emptied, use.path), *_closed(use))
        elif use.closed_flags & ClosedFlag.TRUNCATED:
            yield min(use.last_ns, fault.time_boottime_ns), facts_of_use(use)
    for change in actor.changes:
        if _is_cut(change, fault):
            yield change.time_boottime_ns, (fact(change),)


def _closed(use: Use) -> tuple[Fact, ...]:
    return (fact(use.closed, use.path),) if use.closed is not None else ()


def _is_cut(change: FileChanged, fault: Fault) -> bool:
    return change.operation == FileOperation.TRUNCATE and (
        resolve(change.directory, change.path) == fault.path
    )


def _full_memory(actor: ProcessSnapshot, fault: Fault) -> Candidate:
    """The page is inside of a file in memory, and there was no memory for it."""
    text = "The page is inside of the file: there was no room for it in the file system in memory."
    where = _SHARED[0][:-1] if fault.path.startswith(_SHARED) else "A file system in memory"
    return Candidate(
        cause="mem.shm_full",
        culprit=Culprit(type="file", path=fault.path, inode=fault.inode, device=fault.device),
        summary=(
            f"{where} was full: there was no page for {_name(fault)}, which {actor.who} had mapped."
        ),
        evidence=(
            _happened(actor, fault),
            supports("mem.shm_full.page_inside", CLEAR, text, [fact(fault)]),
        ),
        subject=actor.key,
        at_ns=fault.time_boottime_ns,
    )


def _unreadable(actor: ProcessSnapshot, fault: Fault) -> Candidate:
    """The page is inside of the file, and the kernel could not read or allocate it."""
    text = (
        "The page is inside of the file: reading it failed, or the file system had no room for a "
        "page that was written first here."
    )
    return Candidate(
        cause="fs.unreadable",
        culprit=Culprit(type="file", path=fault.path, inode=fault.inode, device=fault.device),
        summary=f"The kernel could not provide a page of {_name(fault)} to {actor.who}.",
        evidence=(
            _happened(actor, fault),
            supports("fs.unreadable.page_inside", SOME, text, [fact(fault)]),
        ),
        subject=actor.key,
        at_ns=fault.time_boottime_ns,
    )


def _damaged_memory(actor: ProcessSnapshot, fault: Fault) -> Candidate:
    text = f"{actor.who} was killed by SIGBUS: the kernel reports a hardware error in its memory."
    return Candidate(
        cause="mem.hardware",
        culprit=Culprit(type="host"),
        summary=text,
        evidence=(
            supports(
                "mem.hardware.machine_check", STRONG + CLEAR, text, [fact(fault), *ends(actor)]
            ),
        ),
        subject=actor.key,
        at_ns=fault.time_boottime_ns,
    )


def _name(fault: Fault) -> str:
    return fault.path or f"a file without a name ({mib(fault.size_bytes)})"
