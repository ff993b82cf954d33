"""The cause card net.dns."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
    failed_soon_after,
)
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    Candidate,
    Culprit,
    contradicts,
    ends,
    facts,
    supports,
)
from receiver.text.names import address_of, name_in


def names(case: Case) -> Iterator[Candidate]:
    """Finds name servers that return errors or do not answer."""
    for actor in case:
        if not actor.name_failures:
            continue
        query = actor.name_failures[-1]
        server = address_of(query.family, query.server_high, query.server_low)
        name = name_in(query.labels)
        silent = not query.query_flags & 0x8000
        text = (
            f"{actor.who} asked {server} for {name} and got "
            f"{'no answer' if silent else 'an error'}."
        )
        evidence = [
            supports("net.dns.no_answer", CLEAR + SLIGHT, text, facts(*actor.name_failures[-3:])),
            *failed_soon_after(actor, query.time_boottime_ns),
        ]
        if not actor.failed:
            evidence.append(
                contradicts(
                    "net.dns.went_on", SLIGHT, f"{actor.who} continued without it.", ends(actor)
                )
            )
        summary = f"{name} could not be resolved: {server} " + (
            "did not answer." if silent else "failed."
        )
        yield Candidate(
            cause="net.dns",
            culprit=Culprit(type="endpoint", address=f"{server}:{query.port}", name=name),
            summary=summary,
            remedy=f"Check the name server {server}, and whether {name} exists.",
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=query.time_boottime_ns,
        )


CARD = cause_class(
    name="net.dns",
    title="a name could not be resolved",
    predicts="a query to a name server without a good answer",
    rivals="net.blackhole net.backlog_refused",
    may_be_remote=True,
    tag="fix_dns",
    fix="Check the name server (or the number of search domains); cache answers.",
    needs="name_query",
    find=(names,),
)
