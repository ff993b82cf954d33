"""Peers that do not answer."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec

from receiver.events import Connection, ConnectionFlag, EarlySample, ProcessSample
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.causes.peers import (
    IDLE_NS,
    SILENT_NS,
    TICK_NS,
    clients,
    failed_soon_after,
    idle_before,
    notable_samples,
    where,
)
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    Evidence,
    contradicts,
    ends,
    facts,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.event_text import wait_of
from receiver.units import SECOND

# A peer that acknowledged the whole request may take this long to answer.
_PATIENCE_NS = 60 * SECOND
_OWN_LIMIT_NS = SECOND  # no client gives up earlier by its own limit
_AT_ONCE_NS = SECOND
_IDLE_SHARE = 0.1  # of the time that it waited; its end uses some


def longest_gap(peer: Peer) -> int:
    """Returns the longest wait in ns for an answer on an established connection."""
    longest = peer.longest_gap_ns
    for sample in notable_samples(peer):
        # The data was retransmitted, so the time of the last send says nothing.
        if sample.unacknowledged_bytes and sample.retransmits:
            since = max(
                sample.last_receive_boottime_ns or sample.established_boottime_ns,
                sample.time_boottime_ns - 60 * SECOND,
            )
            longest = max(longest, sample.time_boottime_ns - since - peer.idle_ns)
        elif (
            sample.established_boottime_ns
            and sample.last_send_boottime_ns > sample.last_receive_boottime_ns
        ):
            longest = max(longest, sample.time_boottime_ns - sample.last_send_boottime_ns)
    return longest


def _answer(peer: Peer, sample: Connection) -> Connection | None:
    """Returns the sample that shows that the peer answered after this wait."""
    later = [
        m
        for m in (*peer.notable_facts, *((peer.last,) if peer.last is not None else ()))
        if m.time_boottime_ns >= sample.time_boottime_ns
    ]
    return next(
        (m for m in later if m.last_receive_boottime_ns > sample.last_send_boottime_ns > 0), None
    )


class Silence(msgspec.Struct, frozen=True, eq=False):
    """A process that waited for a peer. The peer had acknowledged its request, or had not."""

    actor: ProcessSnapshot
    peer: Peer
    sample: Connection
    gap_ns: int

    @property
    def owed(self) -> int:
        """The bytes that were not acknowledged."""
        return self.sample.unacknowledged_bytes

    @property
    def is_lost(self) -> bool:
        return bool(self.sample.retransmits >= 2 and self.owed)

    @property
    def is_idle_drop(self) -> bool:
        """Whether the connection had been idle before and broke: that is another class."""
        broke = self.is_lost or self.sample.error in (errno.ETIMEDOUT, errno.ECONNRESET)
        return broke and idle_before(self.peer, self.sample) >= IDLE_NS

    @property
    def answer(self) -> Connection | None:
        return _answer(self.peer, self.sample)

    @property
    def gave_up(self) -> bool:
        at = self.sample.time_boottime_ns
        return self.answer is None and bool(failed_soon_after(self.actor, at))

    @property
    def goes_on(self) -> bool:
        """A data warehouse may need minutes for an answer: without a failure, only a wait that
        still goes on is an incident.
        """
        patience = 10 * SECOND if self.owed or self.is_lost else _PATIENCE_NS
        return self.actor.exit is None and self.answer is None and self.gap_ns >= patience

    def evidence(self, case: Case) -> list[Evidence]:
        found = _unanswered(case, self.actor, self.peer, self.sample, self.gap_ns)
        if self.answer is not None:
            found.append(
                contradicts(
                    "net.silence.answered_at_last",
                    SLIGHT,
                    "It answered in the end.",
                    facts(self.answer),
                )
            )
        return found


def silences(case: Case) -> Iterator[Silence]:
    """Finds peers that a process waited for, in vain or for a long time."""
    for actor, peer in clients(case):
        sample = next(
            (m for m in reversed(peer.notable_facts) if m.established_boottime_ns), peer.last
        )
        gap = longest_gap(peer)
        if gap < SILENT_NS and (waited := _waits_for(actor, peer)):
            gap, sample = waited, peer.quiet
        if sample is None or not sample.established_boottime_ns:
            continue
        if gap < SILENT_NS and not _met_its_own_limit(actor, sample):
            continue
        if not _internal(case, actor, sample):
            yield Silence(actor, peer, sample, gap)


def _unanswered(
    case: Case, actor: ProcessSnapshot, peer: Peer, sample: Connection, gap_ns: int
) -> list[Evidence]:
    text = f"{actor.who} waited {gap_ns / 1e9:.1f} s for an answer from {where(peer)}."
    evidence = [supports("net.silence.waited", CLEAR, text, facts(sample))]
    owed = sample.unacknowledged_bytes
    if owed:
        evidence.append(
            contradicts(
                "net.silence.unacknowledged",
                SOME,
                f"{owed} bytes were never acknowledged.",
                facts(sample),
            )
        )
    else:
        text = "The peer acknowledged all data that it had sent, so the network worked."
        evidence.append(supports("net.silence.acknowledged", SOME, text, facts(sample)))
    evidence += failed_soon_after(actor, sample.time_boottime_ns)
    whole = gap_ns / max(1, (actor.end_ns or case.now_ns) - actor.start_ns)
    if whole > 0.5:
        text = f"That is {whole:.0%} of its run time."
        evidence.append(
            supports("net.silence.share_of_run", SLIGHT, text, ends(actor) or facts(sample))
        )
    return evidence


def _waits_for(actor: ProcessSnapshot, peer: Peer) -> int:
    """Returns how long the process has waited for this peer, or 0.

    The timestamps cannot tell if it sent its request in the same tick in which it received the last
    answer. But it has been idle since, and it has no other connection to wait for.
    """
    quiet, idle_period = peer.quiet, actor.usage.idle_period if actor.usage is not None else None
    if (
        quiet is None
        or idle_period is None
        or quiet.last_receive_boottime_ns - quiet.last_send_boottime_ns > TICK_NS
    ):
        return 0
    alone = all(p is peer or not p.endpoint[1] for p in actor.peers)
    waits = any(wait_of(w) in ("poll", "socket") for w in idle_period.waits)
    return peer.quiet_ns if alone and waits and idle_period.ns >= 0.7 * peer.quiet_ns else 0


def _met_its_own_limit(actor: ProcessSnapshot, sample: Connection) -> bool:
    """Whether it did nothing but wait for an answer, and failed at once when it waited no longer.

    A shorter wait counts then. A process that worked meanwhile had not asked for an answer: a log
    record that is sent is acknowledged and not answered, too.
    """
    asked, ended = sample.last_send_boottime_ns, actor.end_ns
    if not actor.failed or actor.end.signal or asked <= sample.last_receive_boottime_ns:
        return False
    if sample.unacknowledged_bytes or ended - asked < _OWN_LIMIT_NS:
        return False
    if not 0 <= ended - sample.time_boottime_ns <= _AT_ONCE_NS or actor.usage is None:
        return False
    early, last = actor.usage.early, actor.usage.last
    looks: list[EarlySample | ProcessSample] = [*early, *([last] if last is not None else [])]
    seen = next((x for x in looks if asked <= x.time_boottime_ns < ended), None)
    if seen is None or actor.exit is None or 2 * (ended - seen.time_boottime_ns) < ended - asked:
        return False
    worked = actor.exit.cpu_runtime_ns - seen.cpu_runtime_ns
    return 0 <= worked <= _IDLE_SHARE * (ended - seen.time_boottime_ns)


def _internal(case: Case, actor: ProcessSnapshot, sample: Connection) -> bool:
    """Whether the other end is a related process of the same case that has no unread data."""
    for other in case:
        for peer in other.peers:
            last = peer.last
            if (
                last is None
                or other is actor
                or not last.connection_flags & ConnectionFlag.ACCEPTED
            ):
                continue
            if last.local_port == sample.peer_port and last.peer_port == sample.local_port:
                return not last.unread_bytes and case.related(other, actor)
    return False
