"""Causes in limited resources: connections of a pool, slots of a server and local ports.

Each candidate names the holder of the resource.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping

from receiver.events import CallKind, ConnectionStage, ThreadWait
from receiver.facts.connections import Peer
from receiver.investigate.case import Case, ProcessSnapshot
from receiver.investigate.causes.common import SECOND
from receiver.investigate.causes.network import (
    SILENT_NS,
    TICK_NS,
    after,
    blame,
    clients,
    endpoint,
    last_notable_sample,
    longest_gap,
    where,
)
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Evidence,
    contradicts,
    ends,
    facts,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.text.event_text import subject_of, wait_of
from receiver.text.names import error_name, times

_TOKENS = re.compile(
    r"(?i)(^|[./_-])(sts|iam|oauth2?|auth|login|token|metadata|credentials?|vault|sso|identity)([./_:-]|$)"
)
_CREDENTIAL_FILES = re.compile(
    r"(?i)(/\.aws/|/\.azure/|/\.config/gcloud/|web[-_]?identity|/serviceaccount/|credential|token)"
)
# Runtimes whose idle threads wait for locks.
_THREADED = (
    "java",
    "node",
    "scala",
)
_METADATA = {"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254"}


def slots(case: Case) -> Iterator[Candidate]:
    """Finds exhausted pools: all connections to one endpoint wait for an answer at once.

    It also finds servers that close every connection above their limit.
    """
    for actor, peer in clients(case):
        sample = last_notable_sample(peer)
        if sample is None:
            continue
        waits = _lock_waits(actor)
        held = peer.longest_full_ns
        alone = (
            peer.most == 1
            and waits
            and actor.name not in _THREADED
            and longest_gap(peer) >= SILENT_NS
        )
        if (peer.most >= 2 and held >= 2 * SECOND) or alone:
            held = max(held, longest_gap(peer) if alone else 0)
            text = (
                f"{actor.who} held all its {peer.most} connections to {where(peer)} for "
                f"{held / 1e9:.0f} s, and waited on each."
            )
            evidence = [
                supports(
                    CLEAR if not alone else SLIGHT, text, facts(*peer.moments[-3:] or (sample,))
                )
            ]
            if waits:
                text = f"{len(waits)} of its threads waited for a lock during that time."
                evidence.append(supports(SOME, text, facts(*waits[:3])))
            if peer.told:
                evidence.append(
                    supports(
                        CLEAR,
                        "The next connection was made as soon as one was free.",
                        facts(*peer.moments[-2:]),
                    )
                )
            refresh = _refresh(case, actor, peer)
            summary = (
                f"{actor.who} used all its {peer.most} connections to {where(peer)} for "
                f"{held / 1e9:.0f} s; further requests waited."
            )
            yield blame(
                actor,
                "net.pool",
                endpoint(peer),
                summary=summary,
                evidence=evidence + after(actor, sample.time_boottime_ns),
                sample=sample,
                silent=peer.told or held >= 5 * SECOND,
            )
            if refresh:
                summary = (
                    f"A refresh of credentials held all {peer.most} connections of "
                    f"{actor.who} to {where(peer)} for {held / 1e9:.0f} s."
                )
                more = after(actor, sample.time_boottime_ns)
                yield blame(
                    actor,
                    "net.credential",
                    endpoint(peer),
                    summary=summary,
                    evidence=[*evidence, *refresh, *more],
                    sample=sample,
                    silent=True,
                )
    yield from _turned_away(case)
    yield from _token_calls(case)


def _lock_waits(actor: ProcessSnapshot) -> list[ThreadWait]:
    spell = actor.usage.spell if actor.usage is not None else None
    return [w for w in (spell.waits if spell is not None else ()) if wait_of(w) == "futex"]


def _refresh(case: Case, actor: ProcessSnapshot, peer: Peer) -> list[Evidence]:
    """Returns evidence for a refresh of credentials.

    Evidence is a token file, a helper or a call to a token service.
    """
    sample = last_notable_sample(peer)
    at = (sample.last_send_boottime_ns or sample.time_boottime_ns) if sample is not None else 0
    out: list[Evidence] = []
    for each in (actor, *case.below(actor)):
        for use in each.uses:
            if (
                use.reading
                and _CREDENTIAL_FILES.search(use.path)
                and abs(use.last_ns - at) < 60 * SECOND
            ):
                out.append(
                    supports(
                        SOME + SLIGHT, f"{each.who} read {use.path} for it.", facts_of_use(use)
                    )
                )
                break
        if each is not actor and _TOKENS.search(" ".join(each.argv[:4])):
            out.append(supports(SOME, f"{each.who} ran during that time.", ends(each)))
    return out[:2]


def _is_token_service(peer: Peer, names: Mapping[str, str]) -> bool:
    return peer.endpoint[0] in _METADATA or bool(_TOKENS.search(names.get(peer.endpoint[0], "")))


def _token_calls(case: Case) -> Iterator[Candidate]:
    """Finds a slow call to another endpoint while connections were idle and threads waited."""
    names = case.names
    for actor, peer in clients(case):
        gap, sample = longest_gap(peer), last_notable_sample(peer)
        if sample is None or gap < 2 * SECOND:
            continue
        read = _refresh(case, actor, peer)
        token = _is_token_service(peer, names)
        if not read and not token:
            continue
        others = [
            p
            for p in actor.peers
            if (p is not peer and p.endpoint[1] and p.received_bytes + p.sent_bytes)
            or (p is not peer and p.open)
        ]
        evidence = [
            supports(
                CLEAR, f"{actor.who} waited {gap / 1e9:.1f} s for {where(peer)}.", facts(sample)
            )
        ]
        if token:
            name = names.get(peer.endpoint[0], "a metadata service's address")
            evidence.append(
                supports(CLEAR, f"That is a token service ({name}).", facts(peer.first))
            )
        evidence += read
        waits = _lock_waits(actor)
        if waits:
            evidence.append(
                supports(
                    SOME,
                    f"{len(waits)} of its threads waited for a lock during that time.",
                    facts(*waits[:3]),
                )
            )
        evidence += _held_meanwhile(others, gap, peer)
        evidence += after(actor, sample.time_boottime_ns)
        summary = (
            f"A refresh of credentials at {where(peer)} took {gap / 1e9:.1f} s and delayed "
            f"{actor.who}."
        )
        yield blame(
            actor,
            "net.credential",
            endpoint(peer),
            summary=summary,
            evidence=evidence,
            sample=sample,
            silent=True,
        )


def _held_meanwhile(others: list[Peer], gap: int, refresh: Peer) -> list[Evidence]:
    """Returns evidence for connections that were idle during the call.

    They continued after the answer of the call had arrived.
    """
    for peer in others:
        quiet, last = peer.quiet, peer.last
        if quiet is None or last is None or peer.quiet_ns < 0.6 * gap:
            continue
        unread = f", with {quiet.unread_bytes} bytes unread" if quiet.unread_bytes else ""
        text = (
            f"Its {peer.most} connections to {where(peer)} were idle for "
            f"{peer.quiet_ns / 1e9:.1f} s during that time{unread}."
        )
        out = [supports(CLEAR, text, facts(peer.first, quiet))]
        answered = refresh.last.last_receive_boottime_ns if refresh.last is not None else 0
        resumed = last.last_receive_boottime_ns or last.time_boottime_ns
        if answered and -TICK_NS <= resumed - answered < SECOND:
            text = (
                f"They continued {max(0, resumed - answered) / 1e6:.0f} ms after the "
                "answer had come."
            )
            out.append(supports(SOME, text, facts(refresh.last, last)))
        return out
    return []


def _turned_away(case: Case) -> Iterator[Candidate]:
    """Finds servers without a free slot.

    Such a server closes new connections after a few bytes, while others stay open.
    """
    by: dict[tuple[str, int], list[tuple[ProcessSnapshot, Peer]]] = {}
    for actor, peer in clients(case):
        by.setdefault(peer.endpoint, []).append((actor, peer))
    for pairs in by.values():
        turned = []
        for actor, peer in pairs:
            last = peer.last
            if (
                last is None
                or last.stage != ConnectionStage.CLOSED
                or not last.established_boottime_ns
                or not actor.failed
            ):
                continue
            if (
                last.time_boottime_ns - last.established_boottime_ns < SECOND // 5
                and 0 < last.received_bytes < 1024
            ):
                turned.append((actor, peer, last))
        stay = [
            (a, p)
            for a, p in pairs
            if p.most
            and (
                p.open
                or (
                    p.last is not None
                    and p.last.established_boottime_ns
                    and p.last.time_boottime_ns - p.last.established_boottime_ns > SECOND
                )
            )
        ]
        held = sum(p.most for _, p in stay)
        if not turned or held < 2:
            continue
        actor, peer, last = turned[0]
        text = (
            f"{where(peer)} accepted {actor.who}, sent {last.received_bytes} bytes and "
            "closed the connection at once."
        )
        evidence = [supports(CLEAR, text, facts(last))]
        text = f"{held} other connections to it stayed open all the time."
        evidence.append(supports(CLEAR, text, facts(*(p.last for _, p in stay[:3]))))
        evidence += after(actor, last.time_boottime_ns)
        summary = (
            f"All slots of {where(peer)} were in use ({held} connections): {actor.who} was "
            "rejected."
        )
        yield blame(
            actor, "net.pool", endpoint(peer), summary=summary, evidence=evidence, sample=last
        )


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
        evidence = [supports(STRONG, text, facts(*calls[:2]))]
        if made > 10:
            evidence.append(
                supports(
                    SOME,
                    f"It had made {made} connections to one endpoint.",
                    facts(*(p.last for p in actor.peers[:1])),
                )
            )
        else:
            evidence.append(
                contradicts(CLEAR, f"It had made only {made} connections.", facts(call))
            )
        evidence += after(actor, call.last_boottime_ns)
        most = _busiest(case, subject_of(call)) or actor
        summary = (
            f"No local port was free for {subject_of(call)}: {most.who} had made {made} "
            "connections."
        )
        yield Candidate(
            cause="net.ports",
            culprit=process_culprit(most),
            summary=summary,
            evidence=tuple(evidence),
            subject=actor.key,
            at_ns=call.first_boottime_ns,
        )


def _busiest(case: Case, address: str) -> ProcessSnapshot | None:
    pairs = [(p.made, a) for a, p in clients(case) if where(p) == address]
    return max(pairs, key=lambda pair: (pair[0], -pair[1].pid))[1] if pairs else None


CAUSES = (slots, ports)
