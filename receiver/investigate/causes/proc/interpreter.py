"""The cause card proc.interpreter."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import CallFailed, CallKind
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Candidate,
    Culprit,
    Evidence,
    contradicts,
    ends,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name
from receiver.units import SECOND


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
            text = f"{actor.who} exited with status {actor.end.code}: a command was {word}."
            evidence.append(supports("proc.interpreter.status", CLEAR, text, ends(actor)))
        if calls:
            call = calls[-1]
            what = subject_of(call)
            text = f"exec of {what} failed with {error_name(call.error)}."
            evidence.append(
                supports("proc.interpreter.exec_failed", CLEAR + SLIGHT, text, facts(call))
            )
            culprit = Culprit(type="file", path=what)
            evidence += _what_followed(case, call)
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


def _what_followed(case: Case, call: CallFailed) -> list[Evidence]:
    """Returns what the process that asked for the program did then: it failed at once, or went on.

    It had forked a child of its own for the exec. A program that it started afterwards, and that
    did its work, is another way to the same end.
    """
    child = case.get(call.process)
    parent = case.get(child.parent) if child is not None else None
    if child is None or parent is None or not parent.failed:
        return []
    if parent.end.code in (child.end.code, 126, 127):
        return []
    others = [c for c in case.children(parent) if c.exec_ns > call.last_boottime_ns and c.exit]
    good = next((c for c in others if not c.failed), None)
    if good is not None:
        text = f"{parent.who} went on: it then started {good.who}, which {good.end.words}."
        return [contradicts("proc.interpreter.starter_went_on", CLEAR, text, ends(good))]
    after = parent.end_ns - child.end_ns
    if others or parent.end.signal or not 0 <= after <= SECOND:
        return []
    text = f"{parent.who}, which had started it, {parent.end.words} {after / 1e9:.2f} s later."
    return [supports("proc.interpreter.starter_ended", SOME, text, ends(parent))]


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


CARD = cause_class(
    name="proc.interpreter",
    title="a program or its interpreter could not be started",
    predicts="an exec that failed",
    rivals="fs.eacces mem.cgroup_oom",
    tag="fix_path",
    fix="Install the program, or correct PATH, the shebang line or the execute permission.",
    needs="call_failed",
    brings=(
        to("fs.eacces", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
    ),
    find=(interpreters,),
)
