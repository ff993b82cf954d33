"""What the causes about connections share: names of peers, notable samples, who is to blame."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.events import Connection
from receiver.facts.peers import Peer
from receiver.investigate.case import Case
from receiver.investigate.evidence import SLIGHT, SOME, Candidate, Culprit, Evidence, ends, supports
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.units import SECOND

IDLE_NS = 4 * SECOND  # a connection is idle after this time without a byte in either direction
SILENT_NS = 3 * SECOND
# the kernel stamps sends and receives with ticks of at most 10 ms (CONFIG_HZ=100)
TICK_NS = 10_000_000
_CLOSING_NS = SECOND // 2
DATABASES = {
    5432: "PostgreSQL",
    3306: "MySQL",
    1433: "SQL Server",
    1521: "Oracle",
    27017: "MongoDB",
    6379: "Redis",
    5439: "Redshift",
    6432: "pgbouncer",
    26257: "CockroachDB",
    3307: "MySQL",
    5433: "PostgreSQL",
}


def where(peer: Peer) -> str:
    host = f"[{peer.endpoint[0]}]" if ":" in peer.endpoint[0] else peer.endpoint[0]
    return f"{host}:{peer.endpoint[1]}"


def endpoint(peer: Peer) -> Culprit:
    return Culprit(type="endpoint", address=where(peer))


def clients(case: Case) -> Iterator[tuple[ProcessSnapshot, Peer]]:
    """Yields the peers that a process connected to. The peers of a listener have no port."""
    for actor in case:
        for peer in actor.peers:
            if peer.endpoint[1]:
                yield actor, peer


def failed_soon_after(actor: ProcessSnapshot, at_ns: int) -> list[Evidence]:
    """Returns evidence if the process failed soon after this time."""
    if not actor.failed or actor.end.signal:
        return []
    # The end of a process closes its connections, so that their last event comes after it.
    soon = actor.end_ns - at_ns
    soon = 0 if -_CLOSING_NS < soon < 0 else soon
    if soon < 0 or soon > 10 * SECOND:
        return []
    weight = SOME if soon < 2 * SECOND else SLIGHT
    return [
        supports(
            "net.peer.failed_soon_after",
            weight,
            f"{soon / 1e9:.1f} s later {actor.who} {actor.end.words}.",
            ends(actor),
        )
    ]


def notable_samples(peer: Peer) -> list[Connection]:
    """Returns the notable samples of the peer and the last one."""
    return [
        *peer.notable_facts,
        *([peer.last] if peer.last is not None and peer.last not in peer.notable_facts else []),
    ]


def last_notable_sample(peer: Peer) -> Connection | None:
    return peer.notable_facts[-1] if peer.notable_facts else peer.last


def blame(
    actor: ProcessSnapshot,
    cause: str,
    culprit: Culprit,
    *,
    summary: str,
    evidence: list[Evidence],
    sample: Connection,
    harms_without_failure: bool = False,
    gave_up: bool = False,
    goes_on: bool = False,
    remedy: str = "",
) -> Candidate:
    return Candidate(
        cause=cause,
        culprit=culprit,
        summary=summary,
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=sample.time_boottime_ns,
        harms_without_failure=harms_without_failure,
        gave_up=gave_up,
        goes_on=goes_on,
        remedy=remedy,
    )


def idle_before(peer: Peer, sample: Connection) -> int:
    """Returns how long in ns nothing had been received at the time of the last send."""
    if sample.retransmits:
        return peer.idle_ns
    last = sample.last_receive_boottime_ns or sample.established_boottime_ns
    return max(0, sample.last_send_boottime_ns - last) if last else 0
