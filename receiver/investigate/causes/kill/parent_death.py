"""The cause card kill.parent_death."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.kill_origins import origins

CARD = cause_class(
    name="kill.parent_death",
    title="it had asked to be ended with its parent, and the parent ended",
    predicts="a signal at the end of its parent",
    rivals="kill.supervisor kill.hangup",
    tag="keep_the_parent",
    fix="Find out why the parent ended. Keep it until its child is done.",
    needs="signal_state exit",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor kill.drain kill.timeout_orphan kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(origins,),
)
