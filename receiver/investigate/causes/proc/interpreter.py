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
    Candidate,
    Culprit,
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
