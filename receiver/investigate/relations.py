"""Whether one candidate brings about another: the relation of their classes, checked on facts.

A class states its relations in its own entry (`cards`). A relation holds if the facts
of the case show the connection, and if the cause is not later than the effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from receiver.events import Connection, ConnectionFlag, Signal
from receiver.facts.peers import Peer
from receiver.investigate.cards import CauseClass, Via
from receiver.investigate.case import Case
from receiver.investigate.evidence import Candidate, Fact, ends, facts
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import address_of

# An effect may be seen this much earlier than its cause: samples are taken once a second.
LATER_NS = 1_500_000_000


class Tie(msgspec.Struct, frozen=True):
    """The fact that connects a cause with its effect. `text` is a whole sentence.

    `before`: it is no effect, but the beginning of the incident.
    """

    via: Via
    text: str
    facts: tuple[Fact, ...]
    before: bool = False


def matches(cause: str, names: tuple[str, ...]) -> bool:
    """Whether the class is one of the names, or belongs to a family among them."""
    return any(cause == name or (name.endswith(".") and cause.startswith(name)) for name in names)


def may_bring(known: CauseClass, effect: str) -> bool:
    """Whether a relation of this class names the class `effect`."""
    return any(matches(effect, r.names) for r in (*known.brings, *known.begins_with))


def brought_by(case: Case, effect: Candidate, cause: Candidate, known: CauseClass) -> Tie | None:
    """How `cause`, of class `known`, brought `effect` about; None if no relation holds.

    A part of the beginning of an incident (`begins_with`) is in no order of time: the class that
    names it was concluded from it.
    """
    for relation in known.brings:
        slack = 0 if relation.strict else LATER_NS
        if matches(effect.cause, relation.names) and cause.at_ns <= effect.at_ns + slack:
            tie = connection(case, relation.via, cause, effect)
            if tie is not None:
                return tie
    for relation in known.begins_with:
        if matches(effect.cause, relation.names):
            tie = connection(case, relation.via, cause, effect)
            if tie is not None:
                return msgspec.structs.replace(tie, before=True)
    return None


def connection(case: Case, via: Via, cause: Candidate, effect: Candidate) -> Tie | None:
    """The fact that connects the processes of two candidates in this way."""
    one, other = case.get(cause.subject), case.get(effect.subject)
    if one is None or other is None:
        # A cause without a process concerns the whole host, such as a step of the clock.
        return Tie(via, "Both concern the whole host.", ()) if one is other else None
    return _CHECKS[via](case, _Pair(cause, effect, one, other))


class _Pair(msgspec.Struct, frozen=True, eq=False):
    cause: Candidate
    effect: Candidate
    one: ProcessSnapshot  # the process of the cause
    other: ProcessSnapshot  # the process of the effect


def _same(_: Case, pair: _Pair) -> Tie | None:
    if pair.one is not pair.other:
        return None
    return Tie(Via.SAME, f"Both concern {pair.one.who}.", ends(pair.one))


def _parent(case: Case, pair: _Pair) -> Tie | None:
    one, other = pair.one, pair.other
    if one is other:
        return _same(case, pair)
    if one.parent == other.key:
        return Tie(Via.PARENT, f"{other.who} had started {one.who}.", ends(one))
    if one.parent is not None and one.parent == other.parent and not (one.execs and other.execs):
        return Tie(Via.PARENT, f"{one.who} and {other.who} are workers of one parent.", ends(one))
    return None


def _ancestor(case: Case, pair: _Pair) -> Tie | None:
    if pair.one is pair.other:
        return _same(case, pair)
    if pair.other not in case.above(pair.one):
        return None
    return Tie(Via.ANCESTOR, f"{pair.one.who} is a descendant of {pair.other.who}.", ends(pair.one))


def _starter(case: Case, pair: _Pair) -> Tie | None:
    tie, above = _ancestor(case, pair), {a.key for a in case.above(pair.other)}
    if tie is None or not any(s.sender in above for s in _sent(pair.other)):
        return None
    return msgspec.structs.replace(tie, via=Via.STARTER)


def _signal(case: Case, pair: _Pair) -> Tie | None:
    theirs = {s.sender: s for s in _sent(pair.one)}
    shared = next((s for s in _sent(pair.other) if s.sender in theirs), None)
    if shared is not None:
        text = f"{shared.sender_comm} ({shared.sender.tgid}) sent the signal to both."
        if pair.one is pair.other:
            text = f"It is the same signal of {shared.sender_comm} ({shared.sender.tgid})."
        return Tie(Via.SIGNAL, text, facts(theirs[shared.sender], shared))
    by_it = next((s for s in pair.other.signals if s.sender == pair.one.key), None)
    if by_it is not None and pair.one is not pair.other:
        text = f"{pair.one.who} sent the signal to {pair.other.who}."
        if by_it.code > 0:
            text = f"The kernel sent the signal to {pair.other.who} while {pair.one.who} ran."
        return Tie(Via.SIGNAL, text, facts(by_it))
    if pair.other.key in theirs:
        sent = theirs[pair.other.key]
        return Tie(Via.SIGNAL, f"{pair.other.who} sent the signal to {pair.one.who}.", facts(sent))
    return _same(case, pair)


def _sent(actor: ProcessSnapshot) -> Iterator[Signal]:
    """Yields the signals that another process sent it by kill(2) or a similar call."""
    return (s for s in actor.signals if s.code <= 0 and s.sender != actor.key)


def _ends(case: Case, pair: _Pair) -> Tie | None:
    """The process of the cause, or the one that forked it, accepted the effect's connection."""
    holders = [pair.one]
    parent = case.get(pair.one.parent)
    if parent is not None and not pair.one.execs:
        holders.append(parent)
    for peer in pair.other.peers:
        if not peer.endpoint[1] or not _is_meant(pair.effect, peer):
            continue
        for holder in holders:
            accepted = _accepted(holder, peer)
            if accepted is not None:
                text = (
                    f"{holder.who} is at the other end of the connection of {pair.other.who} to "
                    f"{peer.endpoint[0]}:{peer.endpoint[1]}."
                )
                return Tie(Via.CONNECTION_ENDS, text, facts(accepted, peer.last))
    return None


def _is_meant(effect: Candidate, peer: Peer) -> bool:
    """Whether the candidate is about this peer; one without an address may be about any."""
    address = effect.culprit.address
    return not address or address.replace("[", "").replace("]", "") == (
        f"{peer.endpoint[0]}:{peer.endpoint[1]}"
    )


def _accepted(holder: ProcessSnapshot, peer: Peer) -> Connection | None:
    """Returns the connection that the holder accepted on the port and address of this peer."""
    client = peer.last
    queue = next((q for q in holder.queues if q.local_port == peer.endpoint[1]), None)
    if queue is not None:
        return queue
    for theirs in holder.peers:
        last = theirs.last
        if (
            last is not None
            and last.connection_flags & ConnectionFlag.ACCEPTED
            and last.local_port == peer.endpoint[1]
            and (client is None or _is_address_of(last, client))
        ):
            return last
    return None


def _is_address_of(server: Connection, client: Connection) -> bool:
    local = address_of(server.family, server.local_high, server.local_low)
    peer = address_of(client.family, client.peer_high, client.peer_low)
    return local.removeprefix("::ffff:") == peer.removeprefix("::ffff:")


def _endpoint(case: Case, pair: _Pair) -> Tie | None:
    mine, theirs = pair.cause.culprit.address, pair.effect.culprit.address
    if mine and mine == theirs:
        return Tie(Via.SAME_ENDPOINT, f"Both concern {mine}.", pair.cause.evidence[0].facts[:2])
    return _same(case, pair)


def _file(_: Case, pair: _Pair) -> Tie | None:
    if pair.one is pair.other:
        return None
    for culprit in (pair.effect.culprit, pair.cause.culprit):
        if not culprit.inode:
            continue
        used = [
            next((u for u in a.uses if u.key[1] == culprit.inode), None)
            for a in (pair.one, pair.other)
        ]
        if all(u is not None for u in used):
            text = f"{pair.one.who} and {pair.other.who} used the same file, {culprit.path}."
            return Tie(Via.SAME_FILE, text, pair.effect.evidence[0].facts[:2])
    return None


def _pipe(case: Case, pair: _Pair) -> Tie | None:
    one, other = pair.one, pair.other
    joined = (one.stdout_inode and one.stdout_inode == other.stdin_inode) or (
        other.stdout_inode and other.stdout_inode == one.stdin_inode
    )
    if not joined:
        return _parent(case, pair)
    return Tie(Via.PIPE, f"A pipe connects {one.who} and {other.who}.", ends(one))


def _cgroup(_: Case, pair: _Pair) -> Tie | None:
    group = pair.one.memory_cgroup
    if not group or group != pair.other.memory_cgroup:
        return None
    return Tie(Via.CGROUP, f"Both are in memory cgroup {group}.", pair.cause.evidence[0].facts[:2])


def _lock(case: Case, pair: _Pair) -> Tie | None:
    held = next((c for c in pair.other.calls if c.holder == pair.one.key), None)
    if held is None:
        return _parent(case, pair)
    return Tie(Via.LOCK, f"{pair.one.who} held the lock.", facts(held))


_CHECKS: dict[Via, Callable[[Case, _Pair], Tie | None]] = {
    Via.SAME: _same,
    Via.PARENT: _parent,
    Via.ANCESTOR: _ancestor,
    Via.STARTER: _starter,
    Via.SIGNAL: _signal,
    Via.CONNECTION_ENDS: _ends,
    Via.SAME_ENDPOINT: _endpoint,
    Via.SAME_FILE: _file,
    Via.PIPE: _pipe,
    Via.CGROUP: _cgroup,
    Via.LOCK: _lock,
}
