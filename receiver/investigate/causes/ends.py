"""Causes of an exit: crashes, masked failures, programs that never start, and process limits."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator

from receiver.events import CallFailed, CallKind, Crash
from receiver.investigate.case import Case
from receiver.investigate.causes.common import died_of, shells
from receiver.investigate.causes.refusals import reaches_inotify_limit
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
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name, signal_name, times
from receiver.units import SECOND

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
        evidence = [supports(STRONG, text, [fact(event), *ends(actor)])]
        if event.signal == signal.SIGBUS:
            evidence.append(
                contradicts(
                    SOME,
                    "SIGBUS is caused by the memory behind a mapping, not by the code.",
                    [fact(event)],
                )
            )
        if any(c.call == CallKind.MEMORY and c.error == errno.ENOMEM for c in actor.calls):
            evidence.append(
                contradicts(
                    SOME,
                    "One of its memory allocations had failed before.",
                    facts(*actor.calls[:1]),
                )
            )
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


def _place_of(crash: Crash) -> Evidence:
    at = (
        f"{crash.module}, offset {crash.module_offset:#x}"
        if crash.module
        else f"address {crash.address:#x}"
    )
    text = f"Its thread {crash.thread} ({crash.comm}) was at {at}."
    return supports(SLIGHT, text, facts(crash))


def interpreters(case: Case) -> Iterator[Candidate]:
    """Finds exit status 126 or 127, and an exec that failed and was not repeated with success."""
    for actor in case:
        if not actor.failed or actor.end.signal:
            continue
        calls = _failed_execs(case, actor)
        not_started = actor.end.code in (126, 127)
        if not not_started and not (calls and actor.end_ns - calls[-1].last_boottime_ns < SECOND):
            continue
        if (
            not_started
            and any(c.end.code == actor.end.code for c in case.children(actor))
            and not calls
        ):
            continue  # a shell returned this status; the child is the culprit
        evidence = []
        parent = case.get(actor.parent)
        forked = parent is not None and not actor.execs and parent.end.code == actor.end.code
        culprit = process_culprit(parent if forked and parent is not None else actor)
        what = ""
        if not_started:
            word = "not found" if actor.end.code == 127 else "found, but could not be executed"
            evidence.append(
                supports(
                    CLEAR,
                    f"{actor.who} exited with status {actor.end.code}: a command was {word}.",
                    ends(actor),
                )
            )
        if calls:
            call = calls[-1]
            what = subject_of(call)
            text = f"exec of {what} failed with {error_name(call.error)}."
            evidence.append(supports(CLEAR + SLIGHT, text, facts(call)))
            culprit = Culprit(type="file", path=what)
        summary = f"{actor.who} could not start {what or 'a program'}."
        yield Candidate(
            cause="proc.interpreter",
            culprit=culprit,
            summary=summary,
            remedy=(
                f"Install {what}, or correct PATH, the shebang line or the execute permission."
                if what
                else ""
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=actor.end_ns,
        )


def _failed_execs(case: Case, actor: ProcessSnapshot) -> list[CallFailed]:
    """Returns failed execs of the process and its ended children that no later exec made good."""
    kinds = (errno.ENOENT, errno.EACCES, errno.ENOEXEC)
    return [
        call
        for each in (actor, *case.children(actor))
        if each.end_ns and each.end_ns <= actor.end_ns
        for call in each.calls
        if call.call == CallKind.EXEC
        and call.error in kinds
        and call.last_boottime_ns > each.exec_ns
    ]


def process_limits(case: Case) -> Iterator[Candidate]:
    """Finds EMFILE, and EAGAIN of clone because of a limit or of unreaped children."""
    for actor in case:
        files = [
            c
            for c in actor.calls
            if c.error in (errno.EMFILE, errno.ENFILE) and not reaches_inotify_limit(actor, c)
        ]
        if files:
            look = actor.usage.last if actor.usage is not None else None
            limit = (
                f" of its {look.descriptor_max}" if look is not None and look.descriptor_max else ""
            )
            text = (
                f"{actor.who} got {error_name(files[0].error)} {times(files[0].failures)}: "
                f"it had no free descriptor{limit}."
            )
            evidence = [supports(STRONG, text, facts(*files[:2]))]
            if actor.failed:
                evidence.append(supports(SLIGHT, f"It then {actor.end.words}.", ends(actor)))
            kinds = _held(actor)
            if kinds:
                evidence.append(supports(SLIGHT, kinds, facts(*(p.last for p in actor.peers[:1]))))
            summary = f"{actor.who} had no free file descriptor{limit}."
            yield Candidate(
                cause="lim.emfile",
                culprit=process_culprit(actor),
                summary=summary,
                remedy=(
                    f"Close files and sockets of {actor.who} after use, or raise its limit"
                    f"{f' (ulimit -n) above {look.descriptor_max}' if limit and look else ''}."
                ),
                evidence=tuple(evidence),
                subject=actor.key,
                at_ns=files[0].first_boottime_ns,
                harms_without_failure=True,
            )
        clones = [
            c
            for c in actor.calls
            if c.call == CallKind.CLONE and c.error in (errno.EAGAIN, errno.ENOMEM)
        ]
        if clones:
            yield _pids(case, actor, clones[0].first_boottime_ns, facts(*clones[:2]))


def _held(actor: ProcessSnapshot) -> str:
    """Describes how many connections and files were open."""
    sockets, files = sum(p.open for p in actor.peers), sum(u.open for u in actor.uses)
    if not sockets and not files:
        return ""
    return f"It had {sockets} connections and {files} files open."


def _pids(case: Case, actor: ProcessSnapshot, at_ns: int, shown: tuple[Fact, ...]) -> Candidate:
    """Names the process with most threads, living children or unreaped children."""
    here = [a for a in case if a.start_ns <= at_ns and (not a.end_ns or a.end_ns >= at_ns)]
    dead = {
        a.key: a.collapsed + sum(1 for c in case.children(a) if c.end_ns and c.end_ns < at_ns)
        for a in here
    }
    living = {a.key: sum(1 for c in case.children(a) if c in here) for a in here}
    evidence = [
        supports(STRONG, f"{actor.who} could not create a process or thread (EAGAIN).", shown)
    ]
    holder = max(here, key=lambda a: (dead[a.key], -a.pid), default=actor)
    if dead.get(holder.key, 0) >= _MANY_DEAD and dead[holder.key] > 2 * len(here):
        number = dead[holder.key]
        text = (
            f"{number} children of {holder.who} had ended and were not reaped, and only "
            f"{len(here)} processes were running."
        )
        evidence.append(supports(CLEAR, text, [*ends(holder), *shown]))
        summary = (
            f"{holder.who} did not reap {number} ended children, until no process could be created."
        )
        return Candidate(
            cause="proc.zombies",
            culprit=process_culprit(holder),
            summary=summary,
            remedy=(
                f"Let {holder.who} reap its children (wait(), or an init such as tini as pid 1): "
                f"{number} had not been reaped."
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=at_ns,
            harms_without_failure=True,
        )
    counts = {a.key: max(living[a.key], _threads(a)) for a in here}
    most = max(here, key=lambda a: (counts[a.key], -a.pid), default=actor)
    text = f"{most.who} had {counts.get(most.key, 0)} processes or threads."
    evidence.append(supports(SLIGHT, text, ends(most) or shown))
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


def _threads(actor: ProcessSnapshot) -> int:
    return (
        actor.usage.last.threads if actor.usage is not None and actor.usage.last is not None else 0
    )


CAUSES = (crashes, interpreters, process_limits)
