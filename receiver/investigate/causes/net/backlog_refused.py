"""The cause card net.backlog_refused."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.network import unreachable

CARD = cause_class(
    name="net.backlog_refused",
    title="no process accepted the connection",
    predicts="a refused connection, or a full accept queue",
    rivals="net.blackhole net.dns",
    may_be_remote=True,
    tag="readiness",
    fix="Start the server first and wait until it listens; enlarge its backlog.",
    needs="connection",
    brings=(to("net.silent_peer", Via.SAME_ENDPOINT),),
    find=(unreachable,),
)
