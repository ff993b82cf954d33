"""The cause card net.pool."""

from __future__ import annotations

from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.causes.slots import slots
from receiver.investigate.causes.token_calls import token_calls

CARD = cause_class(
    name="net.pool",
    title="all connections of a pool, or all slots of a server, were in use",
    predicts="connections that were all in use at once",
    rivals="net.silent_peer net.blackhole lim.emfile net.credential",
    may_be_remote=True,
    tag="bigger_pool",
    fix=(
        "Make the pool at least as large as the number of its users, close responses "
        "after reading, or use a pooler in front."
    ),
    visible="P",
    needs="connection",
    nature=Nature.DELAY,
    brings=(
        to("net.silent_peer net.reset_short", Via.SAME_ENDPOINT),
        to("kill.supervisor kill.timeout_orphan kill.heartbeat", Via.ANCESTOR),
    ),
    find=(
        slots,
        token_calls,
    ),
)
