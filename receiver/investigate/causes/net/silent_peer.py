"""The cause card net.silent_peer."""

from __future__ import annotations

from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.causes.silence import silence

CARD = cause_class(
    name="net.silent_peer",
    title="a peer received the request and did not answer",
    predicts="a request that was acknowledged and not answered",
    rivals="net.idle_drop db.lock_wait net.blackhole net.pool",
    may_be_remote=True,
    tag="read_timeout",
    fix="Set a read timeout, and examine the peer: the network delivered the request.",
    needs="connection",
    nature=Nature.DELAY,
    brings=(to("kill.supervisor kill.timeout_orphan", Via.ANCESTOR),),
    find=(silence,),
)
