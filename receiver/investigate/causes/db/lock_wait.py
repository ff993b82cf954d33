"""The cause card db.lock_wait."""

from __future__ import annotations

from receiver.investigate.cards import Nature, Via, cause_class, to
from receiver.investigate.causes.silence import silence

CARD = cause_class(
    name="db.lock_wait",
    title="a database delayed its answer because of a lock",
    predicts="a silent database while another client has an open transaction",
    rivals="net.silent_peer net.pool fs.lock",
    tag="end_the_holder",
    fix="End or commit the transaction of the other client; set lock_timeout.",
    visible="P",
    needs="connection",
    nature=Nature.DELAY,
    brings=(
        to("net.silent_peer", Via.SAME_ENDPOINT),
        to("kill.supervisor kill.timeout_orphan", Via.ANCESTOR),
    ),
    find=(silence,),
)
