"""The cause card net.ports."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from receiver.events import CallKind
from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import clients, failed_soon_after, where
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    STRONG,
    Candidate,
    contradicts,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.call_text import subject_of
from receiver.text.names import error_name, times


def ports(case: Case) -> Iterator[Candidate]:
    for actor in case:
        calls = [
            c for c in actor.calls if c.error == errno.EADDRNOTAVAIL and c.call == CallKind.CONNECT
        ]
        if not calls:
            continue
        call = calls[-1]
        made = max((p.made for p in actor.peers), default=0)
        text = (
            f"{actor.who}: connect to {subject_of(call)} failed with "
            f"{error_name(call.error)} {times(call.failures)}."
        )
        evidence = [supports("net.ports.connect_refused", STRONG, text, facts(*calls[:2]))]
        if made > 10:
            evidence.append(
                supports(
                    "net.ports.many_connections",
                    SOME,
                    f"It had made {made} connections to one endpoint.",
                    facts(*(p.last for p in actor.peers[:1])),
                )
            )
        else:
            evidence.append(
                contradicts(
                    "net.ports.few_connections",
                    CLEAR,
                    f"It had made only {made} connections.",
                    facts(call),
                )
            )
        evidence += failed_soon_after(actor, call.last_boottime_ns)
        most = _busiest(case, subject_of(call)) or actor
        summary = (
            f"No local port was free for {subject_of(call)}: {most.who} had made {made} "
            "connections."
        )
        yield Candidate(
            cause="net.ports",
            culprit=process_culprit(most),
            summary=summary,
            remedy=(
                f"Keep the connections of {most.who} to {subject_of(call)} open and use them again."
            ),
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=call.first_boottime_ns,
        )


def _busiest(case: Case, address: str) -> ProcessSnapshot | None:
    pairs = [(p.made, a) for a, p in clients(case) if where(p) == address]
    return max(pairs, key=lambda pair: (pair[0], -pair[1].pid))[1] if pairs else None


CARD = cause_class(
    name="net.ports",
    title="no local port was free for an endpoint",
    predicts="a connect that failed with EADDRNOTAVAIL",
    rivals="net.backlog_refused lim.emfile",
    may_be_remote=True,
    tag="reuse_connections",
    fix="Keep connections alive and reuse them (session, pool).",
    needs="call_failed",
    find=(ports,),
)
