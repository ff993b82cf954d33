"""Peers: not reached, silent, broken; slots, ports and names that ran out."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping

from receiver.detect.calls import error_name, subject_of
from receiver.detect.network import name_failed
from receiver.events import CallKind, Connection, ConnectionFlag, ConnectionStage, ThreadWait
from receiver.investigate.case import Actor, Case
from receiver.investigate.causes.common import SECOND
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Culprit,
    Evidence,
    Suspicion,
    context,
    contradicts,
    ends,
    facts,
    facts_of_use,
    process_culprit,
    supports,
)
from receiver.timeline.connections import Peer, address_of, name_in
from receiver.timeline.usage import wait_of

_IDLE_NS = 4 * SECOND  # without a byte either way: an idle connection
_SILENT_NS = 3 * SECOND
_TICK_NS = 10_000_000  # stamps of sends and receives are to the tick, at most 10 ms (CONFIG_HZ=100)
_LARGE = 1200  # bytes: more than fits the smallest packets
DATABASES = {5432: "PostgreSQL", 3306: "MySQL", 1433: "SQL Server", 1521: "Oracle", 27017: "MongoDB", 6379: "Redis", 5439: "Redshift",
             6432: "pgbouncer", 26257: "CockroachDB", 3307: "MySQL", 5433: "PostgreSQL"}  # fmt: skip
_TOKENS = re.compile(r"(?i)(^|[./_-])(sts|iam|oauth2?|auth|login|token|metadata|credentials?|vault|sso|identity)([./_:-]|$)")
_CREDENTIAL_FILES = re.compile(r"(?i)(/\.aws/|/\.azure/|/\.config/gcloud/|web[-_]?identity|/serviceaccount/|credential|token)")
_THREADED = ("java", "node", "scala")  # runtimes whose threads wait for locks whenever they are idle
_METADATA = {"169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254"}


def _where(peer: Peer) -> str:
    host = f"[{peer.endpoint[0]}]" if ":" in peer.endpoint[0] else peer.endpoint[0]
    return f"{host}:{peer.endpoint[1]}"


def _endpoint(peer: Peer) -> Culprit:
    return Culprit("endpoint", address=_where(peer))


def _clients(case: Case) -> Iterator[tuple[Actor, Peer]]:
    """Peers that a process connected to; who listens has peers without a port."""
    for actor in case:
        for peer in actor.peers:
            if peer.endpoint[1]:
                yield actor, peer


def _after(actor: Actor, at_ns: int) -> list[Evidence]:
    """Whether its process failed soon after that."""
    if not actor.failed or actor.end.signal:
        return []
    soon = actor.end_ns - at_ns
    if soon < 0 or soon > 10 * SECOND:
        return []
    weight = SOME if soon < 2 * SECOND else SLIGHT
    return [supports(weight, f"{actor.who} ended with {actor.end.error} {soon / 1e9:.1f} s later.", ends(actor))]


def _moments(peer: Peer) -> list[Connection]:
    """What was remarkable of it, and its last look."""
    return [*peer.moments, *([peer.last] if peer.last is not None and peer.last not in peer.moments else [])]


def _last_moment(peer: Peer) -> Connection | None:
    return peer.moments[-1] if peer.moments else peer.last


def unreachable(case: Case) -> Iterator[Suspicion]:
    """SYNs that nobody answers; a refusal; a listener that does not accept."""
    for actor, peer in _clients(case):
        unanswered = [m for m in _moments(peer) if not m.established_boottime_ns]
        silent = [m for m in unanswered if m.retransmits and m.error not in (errno.ECONNREFUSED,)]
        refused = [m for m in unanswered if m.error == errno.ECONNREFUSED]
        full = _full_listener(case, peer)
        if silent:
            moment = silent[-1]
            lasted = (moment.time_boottime_ns - moment.connection_id) / 1e9
            text = f"{actor.who} sent {moment.retransmits + 1} SYNs to {_where(peer)} in {lasted:.1f} s, and nobody answered."
            evidence = [supports(CLEAR + SLIGHT, text, facts(*silent[-2:]))]
            evidence += _after(actor, moment.time_boottime_ns)
            if peer.made > len(unanswered) and peer.received_bytes:
                evidence.append(contradicts(SLIGHT, "It had answered before.", facts(peer.first)))
            if full is not None:
                server, fact_of_queue = full
                text = f"{server.who} listens there, with a queue that is full ({fact_of_queue.queued} of {fact_of_queue.backlog})."
                evidence = [*evidence[:1], supports(STRONG, text, facts(fact_of_queue)), *evidence[1:]]
                summary = f"{_where(peer)} takes no connections: the accept queue of {server.who} is full."
                yield _blame(actor, "net.backlog_refused", _endpoint(peer), summary, evidence, moment)
            else:
                summary = f"Packets from {actor.who} to {_where(peer)} vanish: {moment.retransmits + 1} SYNs in {lasted:.1f} s."
                yield _blame(actor, "net.blackhole", _endpoint(peer), summary, evidence, moment)
        elif refused or (peer.failed.get("refused") and not peer.received_bytes):
            moment_or_none = refused[-1] if refused else _last_moment(peer)
            if moment_or_none is None:
                continue
            text = f"{_where(peer)} refused {actor.who} {max(1, peer.failed['refused'])} times: nobody listened there."
            evidence = [supports(CLEAR, text, facts(*refused[-2:])), *_after(actor, moment_or_none.time_boottime_ns)]
            if peer.received_bytes:
                evidence.append(contradicts(CLEAR, "It was let in later.", facts(peer.last)))
            yield _blame(actor, "net.backlog_refused", _endpoint(peer), f"Nobody listened on {_where(peer)}: {actor.who} was refused.",
                         evidence, moment_or_none)  # fmt: skip
        elif unanswered and unanswered[-1].error in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            moment = unanswered[-1]
            evidence = [supports(CLEAR, f"No way leads to {_where(peer)}.", facts(moment)), *_after(actor, moment.time_boottime_ns)]
            yield _blame(
                actor, "net.blackhole", _endpoint(peer), f"No way leads from {actor.who} to {_where(peer)}.", evidence, moment
            )


def _blame(
    actor: Actor, cause: str, culprit: Culprit, summary: str, evidence: list[Evidence], moment: Connection, *, silent: bool = False
) -> Suspicion:
    return Suspicion(cause, culprit, summary, tuple(evidence), actor.key, moment.time_boottime_ns, silent)


def _full_listener(case: Case, peer: Peer) -> tuple[Actor, Connection] | None:
    return next(((a, q) for a in case for q in a.queues if q.local_port == peer.endpoint[1]), None)


def _gap(peer: Peer) -> int:
    """The longest wait for an answer on an established connection."""
    longest = peer.longest_gap_ns
    for moment in _moments(peer):
        if moment.unacknowledged_bytes and moment.retransmits:  # sent again and again: the last send says nothing
            since = max(moment.last_receive_boottime_ns or moment.established_boottime_ns, moment.time_boottime_ns - 60 * SECOND)
            longest = max(longest, moment.time_boottime_ns - since - peer.idle_ns)
        elif moment.established_boottime_ns and moment.last_send_boottime_ns > moment.last_receive_boottime_ns:
            longest = max(longest, moment.time_boottime_ns - moment.last_send_boottime_ns)
    return longest


def silence(case: Case) -> Iterator[Suspicion]:
    """Established, asked, acknowledged, and no answer: who is silent, and what it may be waiting for."""
    for actor, peer in _clients(case):
        moment = next((m for m in reversed(peer.moments) if m.established_boottime_ns), peer.last)
        gap = _gap(peer)
        if gap < _SILENT_NS and (waited := _waits_for(actor, peer)):
            gap, moment = waited, peer.quiet
        if moment is None or not moment.established_boottime_ns or gap < _SILENT_NS:
            continue
        if _internal(case, actor, moment):
            continue
        owed = moment.unacknowledged_bytes
        idle = _idle_before(peer, moment)
        lost = moment.retransmits >= 2 and owed
        if (
            lost
            and owed > _LARGE
            and moment.received_bytes + moment.sent_bytes > 0
            and (moment.sent_bytes - owed > 0 or moment.received_bytes)
        ):
            yield _mtu(actor, peer, moment, owed, idle)
        if (lost or moment.error in (errno.ETIMEDOUT, errno.ECONNRESET)) and idle >= _IDLE_NS:
            continue  # a dropped idle connection, below
        text = f"{actor.who} waited {gap / 1e9:.1f} s for an answer of {_where(peer)}."
        evidence = [supports(CLEAR, text, facts(moment))]
        if not owed:
            evidence.append(supports(SOME, "All that it had sent was acknowledged: the network delivered.", facts(moment)))
        else:
            evidence.append(contradicts(SOME, f"{owed} bytes were never acknowledged.", facts(moment)))
        evidence += _after(actor, moment.time_boottime_ns)
        whole = gap / max(1, (actor.end_ns or case.now_ns) - actor.start_ns)
        if whole > 0.5:
            evidence.append(supports(SLIGHT, f"That is {whole:.0%} of its life.", ends(actor) or facts(moment)))
        summary = f"{_where(peer)} took the request of {actor.who} and did not answer for {gap / 1e9:.1f} s."
        yield _blame(actor, "net.silent_peer", _endpoint(peer), summary, evidence, moment, silent=gap >= 10 * SECOND)
        if peer.endpoint[1] in DATABASES:
            yield _lock_wait(case, actor, peer, moment, evidence)


def _waits_for(actor: Actor, peer: Peer) -> int:
    """It asked in the tick in which it was last answered, so that stamps do not tell; but it has done nothing since, and this is
    the only connection that it can be waiting for."""
    quiet, spell = peer.quiet, actor.usage.spell if actor.usage is not None else None
    if quiet is None or spell is None or quiet.last_receive_boottime_ns - quiet.last_send_boottime_ns > _TICK_NS:
        return 0
    alone = all(p is peer or not p.endpoint[1] for p in actor.peers)
    waits = any(wait_of(w) in ("poll", "socket") for w in spell.waits)
    return peer.quiet_ns if alone and waits and spell.ns >= 0.7 * peer.quiet_ns else 0


def _internal(case: Case, actor: Actor, moment: Connection) -> bool:
    """The other end is a process of the same case that has nothing to say, or one that does the waiting itself."""
    for other in case:
        for peer in other.peers:
            last = peer.last
            if last is None or other is actor or not last.connection_flags & ConnectionFlag.ACCEPTED:
                continue
            if last.local_port == moment.peer_port and last.peer_port == moment.local_port:
                return not last.unread_bytes and case.related(other, actor)
    return False


def _idle_before(peer: Peer, moment: Connection) -> int:
    """How long nothing had come when the last send went out."""
    if moment.retransmits:
        return peer.idle_ns
    last = moment.last_receive_boottime_ns or moment.established_boottime_ns
    return max(0, moment.last_send_boottime_ns - last) if last else 0


def _mtu(actor: Actor, peer: Peer, moment: Connection, owed: int, idle: int) -> Suspicion:
    acked = max(0, moment.sent_bytes - owed)
    text = f"{owed} bytes to {_where(peer)} went out {moment.retransmits + 1} times and were never acknowledged."
    evidence = [supports(CLEAR, text, facts(moment))]
    text = f"Small ones were: {acked} bytes out, {moment.received_bytes} in."
    evidence.append(supports(SOME, text, facts(peer.first, moment)))
    if idle >= _IDLE_NS:
        evidence.append(contradicts(SOME, f"The connection had been idle for {idle / 1e9:.0f} s before.", facts(moment)))
    evidence += _after(actor, moment.time_boottime_ns)
    summary = f"Large packets from {actor.who} to {_where(peer)} vanish, small ones arrive."
    return _blame(actor, "net.mtu", _endpoint(peer), summary, evidence, moment)


def _lock_wait(case: Case, actor: Actor, peer: Peer, moment: Connection, silent: list[Evidence]) -> Suspicion:
    """Another client of the same database that was in the middle of something."""
    name = DATABASES[peer.endpoint[1]]
    evidence = [*silent, supports(SOME, f"Port {peer.endpoint[1]} is {name}'s.", facts(peer.first))]
    since = moment.last_send_boottime_ns
    holder, seen = None, None
    for other, theirs in _clients(case):
        quiet = theirs.quiet
        if other is actor or theirs.endpoint[1] != peer.endpoint[1] or quiet is None or quiet.connection_id > since:
            continue
        if theirs.quiet_ns >= SECOND and quiet.time_boottime_ns > since:  # it said nothing in that time
            holder, seen = other, quiet
    if holder is not None:
        text = f"{holder.who} was connected to the same database since before, and said nothing in that time."
        evidence.append(supports(CLEAR, text, facts(seen)))
        done = next((p.last for p in holder.peers if p.last is not None and p.endpoint == peer.endpoint), None)
        answered = peer.last.last_receive_boottime_ns if peer.last is not None else 0
        if done is not None and answered and 0 <= answered - done.last_send_boottime_ns < SECOND:
            evidence.append(supports(SOME, "The answer came as soon as that one went on.", facts(done, peer.last)))
    culprit = process_culprit(holder) if holder is not None else _endpoint(peer)
    by = f" while {holder.who} is in the middle of something there" if holder is not None else ""
    summary = f"The database {_where(peer)} held its answer to {actor.who} back{by}."
    return _blame(actor, "db.lock_wait", culprit, summary, evidence, moment, silent=True)


def broken(case: Case) -> Iterator[Suspicion]:
    """Resets: after a long silence, or in the middle."""
    for actor, peer in _clients(case):
        for moment in reversed(_moments(peer)):
            if not moment.established_boottime_ns:
                continue
            reset = moment.error in (errno.ECONNRESET, errno.EPIPE) or bool(moment.connection_flags & ConnectionFlag.RESET_BY_PEER)
            lost = moment.error == errno.ETIMEDOUT or (moment.retransmits >= 2 and moment.unacknowledged_bytes)
            if not reset and not lost:
                continue
            idle = _idle_before(peer, moment)
            if idle >= _IDLE_NS and moment.received_bytes + moment.sent_bytes:
                how = "reset" if reset else "lost"
                text = (
                    f"Nothing had come over the connection to {_where(peer)} for {idle / 1e9:.1f} s when {actor.who} used it again."
                )
                evidence = [supports(CLEAR + SLIGHT, text, facts(peer.first, moment))]
                evidence.append(supports(SOME, f"That use was {how}.", facts(moment)))
                evidence += _after(actor, moment.time_boottime_ns)
                summary = f"An idle connection of {actor.who} to {_where(peer)} was dropped after {idle / 1e9:.0f} s."
                yield _blame(actor, "net.idle_drop", _endpoint(peer), summary, evidence, moment)
            elif reset:
                yield from _reset(case, actor, peer, moment)
            break


def _reset(case: Case, actor: Actor, peer: Peer, moment: Connection) -> Iterator[Suspicion]:
    text = f"{_where(peer)} reset a connection of {actor.who} after {moment.sent_bytes} bytes out and {moment.received_bytes} in."
    evidence = [supports(CLEAR, text, facts(moment))]
    evidence += _after(actor, moment.time_boottime_ns)
    dead = _server(case, moment)
    if dead is not None and dead.end.signal:
        text = f"The other end, {dead.who}, had died of {dead.end.error}: it broke off nothing."
        evidence.append(contradicts(CLEAR, text, ends(dead)))
    summary = f"{_where(peer)} broke off a connection of {actor.who} after {moment.received_bytes} bytes."
    yield _blame(actor, "net.reset_short", _endpoint(peer), summary, evidence, moment)


def _server(case: Case, moment: Connection) -> Actor | None:
    """Who accepted it, if it is of the case."""
    for other in case:
        for theirs in other.peers:
            last = theirs.last
            if last is not None and last.local_port == moment.peer_port and last.connection_flags & ConnectionFlag.ACCEPTED:
                return other
    return None


def short_answers(case: Case) -> Iterator[Suspicion]:
    """The server closed in order, after much less than it had been asked for: the client failed at once."""
    for actor, peer in _clients(case):
        last = peer.last
        if last is None or not actor.failed or actor.end.signal or peer.moments or not last.established_boottime_ns:
            continue
        if (
            last.stage != ConnectionStage.CLOSED
            or not 0 <= actor.end_ns - last.time_boottime_ns < SECOND
            or peer.endpoint[1] in (53,)
        ):
            continue
        lived = (last.time_boottime_ns - last.established_boottime_ns) / 1e9
        if peer.made >= 3 and lived < 0.2 and peer.most >= 2:
            continue
        text = f"Its last connection, to {_where(peer)}, ended {(actor.end_ns - last.time_boottime_ns) / 1e9:.2f} s before it did."
        evidence = [supports(SLIGHT, text, [*facts(last), *ends(actor)])]
        summary = f"{actor.who} failed right after {_where(peer)} had answered with {last.received_bytes} bytes."
        yield _blame(actor, "net.reset_short", _endpoint(peer), summary, evidence, last)


def slots(case: Case) -> Iterator[Suspicion]:
    """All connections to one endpoint held at once, each waiting for an answer; or a server that turns away all above N."""
    for actor, peer in _clients(case):
        moment = _last_moment(peer)
        if moment is None:
            continue
        waits = _lock_waits(actor)
        held = peer.longest_full_ns
        alone = peer.most == 1 and waits and actor.name not in _THREADED and _gap(peer) >= _SILENT_NS
        if (peer.most >= 2 and held >= 2 * SECOND) or alone:
            held = max(held, _gap(peer) if alone else 0)
            text = f"{actor.who} held all {peer.most} of its connections to {_where(peer)} for {held / 1e9:.0f} s, each waiting."
            evidence = [supports(CLEAR if not alone else SLIGHT, text, facts(*peer.moments[-3:] or (moment,)))]
            if waits:
                text = f"{len(waits)} of its threads waited for a lock meanwhile."
                evidence.append(supports(SOME, text, facts(*waits[:3])))
            if peer.told:
                evidence.append(supports(CLEAR, "The next connection was made as soon as one was free.", facts(*peer.moments[-2:])))
            refresh = _refresh(case, actor, peer)
            summary = (
                f"{actor.who} had all {peer.most} connections to {_where(peer)} in use for {held / 1e9:.0f} s; the rest waited."
            )
            yield _blame(actor, "net.pool", _endpoint(peer), summary, evidence + _after(actor, moment.time_boottime_ns), moment,
                         silent=peer.told or held >= 5 * SECOND)  # fmt: skip
            if refresh:
                summary = f"A refresh of credentials held all {peer.most} connections of {actor.who} to {_where(peer)} for {held / 1e9:.0f} s."
                more = _after(actor, moment.time_boottime_ns)
                yield _blame(actor, "net.credential", _endpoint(peer), summary, [*evidence, *refresh, *more], moment, silent=True)
    yield from _turned_away(case)
    yield from _token_calls(case)


def _lock_waits(actor: Actor) -> list[ThreadWait]:
    spell = actor.usage.spell if actor.usage is not None else None
    return [w for w in (spell.waits if spell is not None else ()) if wait_of(w) == "futex"]


def _refresh(case: Case, actor: Actor, peer: Peer) -> list[Evidence]:
    """What shows that credentials were being refreshed: a token file, a helper, a call to a token service."""
    moment = _last_moment(peer)
    at = (moment.last_send_boottime_ns or moment.time_boottime_ns) if moment is not None else 0
    out: list[Evidence] = []
    for each in (actor, *case.below(actor)):
        for use in each.uses:
            if use.reading and _CREDENTIAL_FILES.search(use.path) and abs(use.last_ns - at) < 60 * SECOND:
                out.append(supports(SOME + SLIGHT, f"{each.who} read {use.path} for it.", facts_of_use(use)))
                break
        if each is not actor and _TOKENS.search(" ".join(each.argv[:4])):
            out.append(supports(SOME, f"{each.who} ran meanwhile.", ends(each)))
    return out[:2]


def _is_token_service(peer: Peer, names: Mapping[str, str]) -> bool:
    return peer.endpoint[0] in _METADATA or bool(_TOKENS.search(names.get(peer.endpoint[0], "")))


def _token_calls(case: Case) -> Iterator[Suspicion]:
    """One slow call to an endpoint of its own, while connections to another one were idle and threads waited."""
    names = case.names
    for actor, peer in _clients(case):
        gap, moment = _gap(peer), _last_moment(peer)
        if moment is None or gap < 2 * SECOND:
            continue
        read = _refresh(case, actor, peer)
        token = _is_token_service(peer, names)
        if not read and not token:
            continue
        others = [
            p
            for p in actor.peers
            if (p is not peer and p.endpoint[1] and p.received_bytes + p.sent_bytes) or (p is not peer and p.open)
        ]
        evidence = [supports(CLEAR, f"{actor.who} waited {gap / 1e9:.1f} s for {_where(peer)}.", facts(moment))]
        if token:
            name = names.get(peer.endpoint[0], "a metadata service's address")
            evidence.append(supports(CLEAR, f"That is a token service ({name}).", facts(peer.first)))
        evidence += read
        waits = _lock_waits(actor)
        if waits:
            evidence.append(supports(SOME, f"{len(waits)} of its threads waited for a lock meanwhile.", facts(*waits[:3])))
        evidence += _held_meanwhile(others, gap, peer)
        evidence += _after(actor, moment.time_boottime_ns)
        summary = f"A refresh of credentials at {_where(peer)} took {gap / 1e9:.1f} s and held {actor.who} up."
        yield _blame(actor, "net.credential", _endpoint(peer), summary, evidence, moment, silent=True)


def _held_meanwhile(others: list[Peer], gap: int, refresh: Peer) -> list[Evidence]:
    """Connections to other endpoints that stood still for as long, and went on when the answer was there."""
    for peer in others:
        quiet, last = peer.quiet, peer.last
        if quiet is None or last is None or peer.quiet_ns < 0.6 * gap:
            continue
        unread = f", with {quiet.unread_bytes} bytes unread" if quiet.unread_bytes else ""
        text = (
            f"It held {peer.most} connections to {_where(peer)} that stood still for {peer.quiet_ns / 1e9:.1f} s meanwhile{unread}."
        )
        out = [supports(CLEAR, text, facts(peer.first, quiet))]
        answered = refresh.last.last_receive_boottime_ns if refresh.last is not None else 0
        after = last.last_receive_boottime_ns or last.time_boottime_ns
        if answered and -_TICK_NS <= after - answered < SECOND:
            text = f"They went on {max(0, after - answered) / 1e6:.0f} ms after the answer had come."
            out.append(supports(SOME, text, facts(refresh.last, last)))
        return out
    return []


def _turned_away(case: Case) -> Iterator[Suspicion]:
    """The server's own slots: new connections get a few bytes and are closed at once, while others stay."""
    by: dict[tuple[str, int], list[tuple[Actor, Peer]]] = {}
    for actor, peer in _clients(case):
        by.setdefault(peer.endpoint, []).append((actor, peer))
    for pairs in by.values():
        turned = []
        for actor, peer in pairs:
            last = peer.last
            if last is None or last.stage != ConnectionStage.CLOSED or not last.established_boottime_ns or not actor.failed:
                continue
            if last.time_boottime_ns - last.established_boottime_ns < SECOND // 5 and 0 < last.received_bytes < 1024:
                turned.append((actor, peer, last))
        stay = [(a, p) for a, p in pairs if p.most and (p.open or (p.last is not None and p.last.established_boottime_ns
                and p.last.time_boottime_ns - p.last.established_boottime_ns > SECOND))]  # fmt: skip
        held = sum(p.most for _, p in stay)
        if not turned or held < 2:
            continue
        actor, peer, last = turned[0]
        text = f"{_where(peer)} let {actor.who} in, said {last.received_bytes} bytes and closed at once."
        evidence = [supports(CLEAR, text, facts(last))]
        text = f"{held} other connections to it stayed open all the time."
        evidence.append(supports(CLEAR, text, facts(*(p.last for _, p in stay[:3]))))
        evidence += _after(actor, last.time_boottime_ns)
        summary = f"All slots of {_where(peer)} were taken ({held} connections): {actor.who} was turned away."
        yield _blame(actor, "net.pool", _endpoint(peer), summary, evidence, last)


def names(case: Case) -> Iterator[Suspicion]:
    """Name servers that fail or stay silent."""
    for actor in case:
        if not actor.name_failures:
            continue
        query = actor.name_failures[-1]
        server = address_of(query.family, query.server_high, query.server_low)
        name = name_in(query.labels)
        silent = not query.query_flags & 0x8000
        text = f"{actor.who} asked {server} for {name} and got {'no answer' if silent else 'a failure'}."
        evidence = [supports(CLEAR + SLIGHT, text, facts(*actor.name_failures[-3:])), *_after(actor, query.time_boottime_ns)]
        if not actor.failed:
            evidence.append(contradicts(SLIGHT, f"{actor.who} got on without it.", ends(actor)))
        summary = f"{name} could not be resolved: {server} " + ("did not answer." if silent else "failed.")
        yield Suspicion(
            "net.dns", Culprit("endpoint", address=f"{server}:{query.port}", name=name), summary, tuple(evidence), actor.key,
            query.time_boottime_ns,
        )  # fmt: skip


def ports(case: Case) -> Iterator[Suspicion]:
    for actor in case:
        calls = [c for c in actor.calls if c.error == errno.EADDRNOTAVAIL and c.call == CallKind.CONNECT]
        if not calls:
            continue
        call = calls[-1]
        made = max((p.made for p in actor.peers), default=0)
        text = f"{actor.who}: connect to {subject_of(call)} failed with {error_name(call.error)} {call.failures} times."
        evidence = [supports(STRONG, text, facts(*calls[:2]))]
        if made > 10:
            evidence.append(
                supports(SOME, f"It had made {made} connections to one endpoint.", facts(*(p.last for p in actor.peers[:1])))
            )
        else:
            evidence.append(contradicts(CLEAR, f"It had made {made} connections only.", facts(call)))
        evidence += _after(actor, call.last_boottime_ns)
        most = _busiest(case, subject_of(call)) or actor
        summary = f"No local port was left towards {subject_of(call)}: {most.who} had made {made} connections."
        yield Suspicion("net.ports", process_culprit(most), summary, tuple(evidence), actor.key, call.first_boottime_ns)


def _busiest(case: Case, where: str) -> Actor | None:
    pairs = [(p.made, a) for a, p in _clients(case) if _where(p) == where]
    return max(pairs, key=lambda pair: (pair[0], -pair[1].pid))[1] if pairs else None


CAUSES = (unreachable, silence, broken, short_answers, slots, names, ports)
__all__ = ["CAUSES", "context", "name_failed"]
