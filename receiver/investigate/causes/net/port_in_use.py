"""The cause card net.port_in_use."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import CallKind, HeldObject, SubjectKind
from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.last_calls import last_calls
from receiver.investigate.causes.refusals import holder_culprit
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    Culprit,
    facts,
    supports,
)
from receiver.text.call_text import subject_of


def port_in_use(case: Case) -> Iterator[Candidate]:
    """Finds a process that ended because another one had its port."""
    for actor, last in last_calls(case, (errno.EADDRINUSE,)):
        call = last.call
        if call.subject != SubjectKind.ENDPOINT or call.call == CallKind.CONNECT:
            continue
        address = subject_of(call)
        evidence = list(last.shown)
        culprit = Culprit(type="endpoint", address=address)
        summary = f"{actor.who} could not use {address}: the port was in use"
        remedy = ""
        holders = [h for h in actor.holders if h.held == HeldObject.PORT and h.port == call.port]
        if holders:
            culprit, who = holder_culprit(case, holders[0])
            text = f"{who} had a socket on port {call.port} at that moment."
            evidence.append(
                supports("net.port_in_use.holder_seen", CLEAR + SOME, text, facts(*holders[:2]))
            )
            summary += f" by {who}"
            remedy = f"End {who}, or give {actor.who} another port than {call.port}."
        yield Candidate(
            cause="net.port_in_use",
            culprit=culprit,
            summary=f"{summary}.",
            remedy=remedy,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=call.failed_boottime_ns,
        )


CARD = cause_class(
    name="net.port_in_use",
    title="another process had the port",
    predicts="EADDRINUSE of bind or listen",
    rivals="net.ports net.backlog_refused fs.eacces",
    may_be_remote=True,
    tag="free_port",
    fix="End the other process or give each one a port of its own (port 0 chooses a free one).",
    needs="last_failure",
    find=(port_in_use,),
)
