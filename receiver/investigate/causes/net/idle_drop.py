"""The cause card net.idle_drop."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.broken import broken

CARD = cause_class(
    name="net.idle_drop",
    title="a connection that had been idle was dropped on the way",
    predicts="an idle time before the connection broke",
    rivals="net.silent_peer net.reset_short net.blackhole",
    may_be_remote=True,
    tag="keepalive",
    fix=(
        "Enable TCP keep-alive with an interval below the idle limit of the network "
        "in between, or recycle idle connections."
    ),
    needs="connection",
    brings=(to("net.silent_peer net.reset_short", Via.SAME_ENDPOINT),),
    find=(broken,),
)
