"""The cause card net.mtu."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.silence import silence

CARD = cause_class(
    name="net.mtu",
    title="large packets are lost, and small ones arrive",
    predicts="large packets that were not acknowledged while small ones were",
    rivals="net.silent_peer net.idle_drop net.blackhole",
    may_be_remote=True,
    tag="lower_mtu",
    fix="Lower the MTU, or allow ICMP 'fragmentation needed'.",
    visible="P",
    needs="connection",
    brings=(to("net.silent_peer", Via.SAME_ENDPOINT),),
    find=(silence,),
)
