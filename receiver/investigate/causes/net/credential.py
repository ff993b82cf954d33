"""The cause card net.credential."""

from __future__ import annotations

from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.causes.slots import slots
from receiver.investigate.causes.token_calls import token_calls

CARD = cause_class(
    name="net.credential",
    title="a refresh of credentials delayed all other work",
    predicts="a call to a token service while all other work waits",
    rivals="net.pool net.silent_peer net.dns",
    may_be_remote=True,
    tag="refresh_early",
    fix="Refresh credentials early, and with a client, a timeout and a pool of their own.",
    visible="P",
    needs="connection",
    nature=Nature.DELAY,
    brings=(
        to("net.pool net.silent_peer", Via.SAME_ENDPOINT),
        to("kill.supervisor kill.timeout_orphan kill.heartbeat", Via.ANCESTOR),
    ),
    find=(
        slots,
        token_calls,
    ),
)
