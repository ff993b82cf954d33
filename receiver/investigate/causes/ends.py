"""Causes of an exit: crashes, masked failures, programs that never start, and process limits."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator

from receiver import semconv as sc
from receiver.detect.masked import Grade
from receiver.events import CallKind
from receiver.investigate.case import Case, ProcessSnapshot
from receiver.investigate.causes.common import SECOND, died_of, shells, shorter
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Fact,
    contradicts,
    ends,
    fact,
    facts,
    process_culprit,
    supports,
)
from receiver.text.event_text import subject_of
from receiver.text.names import error_name, signal_name, times

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
        how = "its own code caused the fault" if event.code > 0 else "it sent the signal to itself"
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
            crash = actor.crash
            at = (
                f"{crash.module}, offset {crash.module_offset:#x}"
                if crash.module
                else f"address {crash.address:#x}"
            )
            evidence.append(
                supports(
                    SLIGHT, f"Its thread {crash.thread} ({crash.comm}) was at {at}.", facts(crash)
                )
            )
            where = f" in {crash.module.rpartition('/')[2]}" if crash.module else ""
        summary = f"{actor.who} crashed with {signal_name(event.signal)}{where}."
        yield Candidate(
            cause=cause,
            culprit=process_culprit(actor),
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=event.time_boottime_ns,
        )


def masked(case: Case) -> Iterator[Candidate]:
    """Finds the deepest failure below a parent that exited with status 0."""
    reported = {
        f.process
        for f in case.execution.findings
        if f.kind == sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH
    }
    for actor in case:
        parent = case.get(actor.parent)
        if (
            actor.grade < Grade.FAILED
            or actor.exit is None
            or parent is None
            or parent.exit is None
        ):
            continue
        if parent.end.code != 0 and not _lost_in_a_pipe(case, actor, parent):
            continue
        below = [c for c in case.children(actor) if c.grade > Grade.ANSWER]
        if (below and not shells(actor)) or _repeated(case, actor) or _answered(actor):
            continue
        deepest = below[-1] if below else actor
        went_on = "exited with status 0" if parent.end.code == 0 else "continued"
        text = f"{deepest.who} {deepest.end.words}; {parent.who} above it {went_on}."
        evidence = [supports(CLEAR, text, [*ends(deepest), *ends(parent)])]
        if not case.execution.root_failed and case.root is not None:
            evidence.append(supports(SOME, "The task was reported as a success.", ends(case.root)))
        reader = _piped_to(case, actor)
        if reader is not None:
            text = (
                f"It wrote to a pipe that {reader.who} read. That process exited with "
                "status 0, which became the status of the whole pipeline."
            )
            evidence.append(supports(SOME, text, ends(reader)))
        if actor.grade is Grade.LOST_WORK:
            evidence.append(supports(SLIGHT, "Its work was lost.", ends(actor)))
        elif actor.execs and actor.end_ns - actor.start_ns > LONG_NS:
            evidence.append(
                supports(
                    SLIGHT,
                    (
                        "It had been running for "
                        f"{(actor.end_ns - actor.start_ns) / 1e9:.1f} s, so it "
                        "was not a short check."
                    ),
                    ends(actor),
                )
            )
        if _keeps_its_own_record(case, parent):
            system = parent.execution.identity.system
            text = (
                f"{parent.who} supervises a task of {system}. It always exits with status "
                f"0, because {system} records the result itself."
            )
            evidence.append(contradicts(STRONG, text, ends(parent)))
        for version in case.execution.outputs[:4]:
            evidence += shorter(case, version.path, version.size_bytes, facts(version.opened))
        did = "reported success" if parent.end.code == 0 else "continued"
        summary = f"{deepest.who} {deepest.end.words}, but {parent.who} {did}."
        silent = case.execution.masked or bool({deepest.key, actor.key} & reported)
        yield Candidate(
            cause="proc.exit_masked",
            culprit=process_culprit(parent),
            summary=summary,
            evidence=tuple(evidence),
            subject=deepest.key,
            at_ns=actor.end_ns,
            silent=silent,
        )


def _keeps_its_own_record(case: Case, actor: ProcessSnapshot) -> bool:
    """Whether the process holds a task of an orchestrator.

    Nothing reads its exit status; the orchestrator keeps its own record.
    """
    identity, above = actor.execution.identity, case.get(actor.parent)
    return (
        identity.status_lies
        and identity.type == "task"
        and (above is None or above.execution is not actor.execution)
    )


def _lost_in_a_pipe(case: Case, actor: ProcessSnapshot, parent: ProcessSnapshot) -> bool:
    """Whether a failure in a pipe was lost because the shell lacks `pipefail`.

    It failed before the last command, which succeeded. The shell then started other processes, or
    it returned another exit status.
    """
    went_on = parent.end.code != actor.end.code or any(
        c.start_ns > actor.end_ns for c in case.children(parent)
    )
    return shells(parent) and went_on and _piped_to(case, actor) is not None


def _repeated(case: Case, actor: ProcessSnapshot) -> bool:
    """Whether the same command succeeded later, as a retry does."""
    parent = case.get(actor.parent)
    siblings = case.children(parent) if parent is not None else []
    return any(
        s.argv == actor.argv and s.start_ns > actor.start_ns and s.exit is not None and not s.failed
        for s in siblings
    )


def _answered(actor: ProcessSnapshot) -> bool:
    """Whether a helper was stopped by its script, or a short command answered with status 1."""
    return actor.grade is Grade.STOPPED or (
        actor.end.code == 1 and actor.end_ns - actor.start_ns < 20_000_000 and bool(actor.execs)
    )


def _piped_to(case: Case, actor: ProcessSnapshot) -> ProcessSnapshot | None:
    parent = case.get(actor.parent)
    for other in case.children(parent) if parent is not None else ():
        if (
            other is not actor
            and other.stdin_inode
            and other.stdin_inode == actor.stdout_inode
            and not other.failed
        ):
            return other
    return None


def pipes(case: Case) -> Iterator[Candidate]:
    """Finds processes that died of SIGPIPE. If the reader failed, the reader is the culprit."""
    for actor in case:
        event = died_of(actor)
        epipe = [c for c in actor.calls if c.error == errno.EPIPE]
        if not (event is not None and event.signal == signal.SIGPIPE) and not (
            epipe and actor.failed and not actor.end.signal
        ):
            continue
        if event is not None and not actor.end.signal and shells(actor) and case.children(actor):
            continue
        reader = next(
            (
                a
                for a in case
                if a is not actor and a.stdin_inode and a.stdin_inode == actor.stdout_inode
            ),
            None,
        )
        text = (
            f"{actor.who} was killed by SIGPIPE: its output had no reader any more."
            if event is not None
            else f"A write of {actor.who} failed with EPIPE."
        )
        evidence = [supports(CLEAR + SLIGHT, text, [*facts(event, *epipe[:1]), *ends(actor)])]
        if reader is not None and reader.failed:
            evidence.append(
                contradicts(
                    STRONG,
                    f"Its reader {reader.who} had failed: it {reader.end.words}.",
                    ends(reader),
                )
            )
        elif reader is not None:
            evidence.append(
                supports(
                    CLEAR,
                    f"Its reader {reader.who} had exited with status 0 before.",
                    ends(reader),
                )
            )
        summary = (
            f"SIGPIPE ended {actor.who}: "
            f"{reader.who if reader is not None else 'its reader'} had stopped reading."
        )
        culprit = process_culprit(actor)
        yield Candidate(
            cause="proc.sigpipe",
            culprit=culprit,
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=actor.end_ns,
        )


def interpreters(case: Case) -> Iterator[Candidate]:
    """Finds exit status 126 or 127, and an exec that failed and was not repeated with success."""
    for actor in case:
        if not actor.failed or actor.end.signal:
            continue
        kinds = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.E2BIG)
        below = [a for a in (actor, *case.children(actor)) if a.end_ns and a.end_ns <= actor.end_ns]
        calls = [
            (a, c)
            for a in below
            for c in a.calls
            if c.call == CallKind.EXEC and c.error in kinds and c.last_boottime_ns > a.exec_ns
        ]
        not_started = actor.end.code in (126, 127)
        if not not_started and not (
            calls and actor.end_ns - calls[-1][1].last_boottime_ns < SECOND
        ):
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
            _, call = calls[-1]
            what = subject_of(call)
            text = f"exec of {what} failed with {error_name(call.error)}."
            evidence.append(supports(CLEAR + SLIGHT, text, facts(call)))
            culprit = Culprit(type="file", path=what)
        summary = f"{actor.who} could not start {what or 'a program'}."
        yield Candidate(
            cause="proc.interpreter",
            culprit=culprit,
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=actor.end_ns,
        )


def limits(case: Case) -> Iterator[Candidate]:
    """Finds EMFILE, and EAGAIN of clone because of a limit or of unreaped children."""
    for actor in case:
        files = [c for c in actor.calls if c.error in (errno.EMFILE, errno.ENFILE)]
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
                evidence=tuple(evidence),
                subject=actor.key,
                at_ns=files[0].first_boottime_ns,
                silent=True,
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
        a.key: a.folded + sum(1 for c in case.children(a) if c.end_ns and c.end_ns < at_ns)
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
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=at_ns,
            silent=True,
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
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=at_ns,
        silent=True,
    )


def _threads(actor: ProcessSnapshot) -> int:
    return (
        actor.usage.last.threads if actor.usage is not None and actor.usage.last is not None else 0
    )


CAUSES = (crashes, masked, pipes, interpreters, limits)
