"""Links a cause on one host to its symptom on another by address, path and time.

The agent of each host has investigated what it could see. If a peer or a file of another host
failed, the agent can only name the peer or the file. Here the facts of the other host are known,
too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from receiver import semconv as sc
from receiver.insights.across_report import CausalLink, confidence_of, fact_id, report_on
from receiver.insights.remote_causes import RemoteCause, remote_causes
from receiver.insights.runs import RemoteFact, RemoteRun
from receiver.investigate import report as rp
from receiver.investigate.classes import CLASSES
from receiver.investigate.engine import CONFIDENT
from receiver.investigate.evidence import CLEAR, SLIGHT, SOME, STRONG
from receiver.text.printable import printable
from receiver.units import SECOND

WINDOW_NS = 60 * SECOND  # the longest time from a cause to its symptom
SKEW_NS = SECOND // 2  # the largest expected difference between the clocks of two hosts
# Causes of one run that are examined. The cost is their number times the number of facts.
SOURCES = 32
_NETWORK = {sc.EVENT_NETWORK_CONNECTION_FAILED, sc.EVENT_NETWORK_CONNECTION_STALLED}
_FILES = {sc.EVENT_FILE_PARTIAL_WRITE, sc.EVENT_FILE_TAINTED_READ, sc.EVENT_FILE_CONFLICT}


def across(trace_id: str, run: RemoteRun) -> rp.Report | None:
    """Returns a report if a symptom on one host has its cause on another host, else None."""
    facts = _by_host(run)
    sources = list(
        islice((s for host in sorted(run.hosts) for s in remote_causes(facts[host], host)), SOURCES)
    )
    paths = {host: {f.word(sc.FILE_PATH) for f in mine} for host, mine in facts.items()}
    best: CausalLink | None = None
    for host in sorted(run.hosts):
        local = next((s for s in sources if s.fact.host == host), None)
        if local is not None and not _may_be_remote(local.cause):
            continue  # its own facts explain the failure
        for source in sources:
            if source.fact.host != host and not _is_of_the_network(source.cause):
                for link in _links(
                    facts[host], local, source, run.hosts[source.fact.host], paths[source.fact.host]
                ):
                    if best is None or (link.score, -link.source.fact.at_ns) > (
                        best.score,
                        -best.source.fact.at_ns,
                    ):
                        best = link
    if best is None or best.by == "" or confidence_of(best.score) < CONFIDENT:
        return None
    return report_on(trace_id, run, best, sources)


def _may_be_remote(cause: str) -> bool:
    """Whether an agent reports this if the real cause is on another host, or knows no class."""
    known = CLASSES.get(cause)
    return known is None or known.may_be_remote


def _is_of_the_network(cause: str) -> bool:
    """Whether it is the other end of something: no cause of its own."""
    known = CLASSES.get(cause)
    return known is not None and known.family == "net"


def _by_host(run: RemoteRun) -> dict[str, list[RemoteFact]]:
    found: dict[str, list[RemoteFact]] = {host: [] for host in run.hosts}
    for fact in run.facts:
        found[fact.host].append(fact)
    return found


def _links(
    mine: list[RemoteFact],
    local: RemoteCause | None,
    source: RemoteCause,
    addresses: tuple[str, ...],
    paths: set[str],
) -> Iterator[CausalLink]:
    """Yields each possible link from the source to the facts of this host.

    `addresses` and `paths` are those of the source's host.
    """
    for symptom in mine:
        by, lines = _connection(symptom, source, addresses, paths)
        if by or symptom.kind == sc.EVENT_PIPELINE_TASK_END:
            lines += (
                _order(symptom, source, linked=bool(by)),
                *_conclusions(symptom, local, source),
            )
            yield CausalLink(source, lines, by, symptom)


def _connection(
    symptom: RemoteFact, source: RemoteCause, addresses: tuple[str, ...], paths: set[str]
) -> tuple[str, tuple[rp.EvidenceLine, ...]]:
    """How the symptom is connected with the other host: by "socket", by "file", or not at all."""
    peer = symptom.word(sc.NETWORK_PEER_ADDRESS) or symptom.word(sc.SERVER_ADDRESS)
    path = symptom.word(sc.FILE_PATH)
    refs = (fact_id(symptom),)
    if symptom.kind in _NETWORK and peer in addresses:
        where = f"{peer}:{symptom.word(sc.NETWORK_PEER_PORT) or symptom.word(sc.SERVER_PORT)}"
        text = (
            f"The connection of {symptom.host} broke ({where}), and {peer} is an address of "
            f"{source.fact.host}."
        )
        return "socket", (rp.EvidenceLine("supports", STRONG, text, refs),)
    if symptom.kind in _FILES and path and path in paths:
        text = f"Both hosts report {printable(path)}."
        return "file", (rp.EvidenceLine("supports", CLEAR, text, refs),)
    return "", ()


def _order(symptom: RemoteFact, source: RemoteCause, *, linked: bool) -> rp.EvidenceLine:
    """Whether the source came before the symptom, as far as two clocks can show it."""
    before = (symptom.at_ns - source.fact.at_ns) / SECOND
    both = (fact_id(source.fact), fact_id(symptom))
    if -SKEW_NS <= symptom.at_ns - source.fact.at_ns <= WINDOW_NS:
        text = (
            f"{source.fact.host} reported this {max(0.0, before):.2f} s before: "
            f"{source.fact.text.rstrip('.')}."
        )
        return rp.EvidenceLine("supports", SOME if linked else SLIGHT, text, both)
    text = (
        f"On {source.fact.host} it happened {abs(before):.1f} s "
        f"{'before' if before > 0 else 'after'} this."
    )
    return rp.EvidenceLine("contradicts", -STRONG, text, both)


def _conclusions(
    symptom: RemoteFact, local: RemoteCause | None, source: RemoteCause
) -> Iterator[rp.EvidenceLine]:
    """What both agents concluded."""
    if source.confidence >= 0.5:
        text = (
            f"On that host the cause is {source.cause}, {source.confidence:.0%} sure: "
            f"{source.summary}"
        )
        refs = tuple(fact_id(f) for f in source.support[:4]) or (fact_id(source.fact),)
        yield rp.EvidenceLine("supports", SOME, text, refs)
    if local is not None:
        text = (
            f"The cause that {symptom.host} found ({local.cause}) is how such a failure appears "
            "on the other host."
        )
        yield rp.EvidenceLine("supports", SLIGHT, text, (fact_id(local.fact),))
