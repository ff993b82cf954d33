"""The cause card kill.heartbeat."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.kills import kills

CARD = cause_class(
    name="kill.heartbeat",
    title="its supervisor ended it because a heartbeat was late, although it was working",
    predicts="a late answer to its supervisor, then a signal by it",
    rivals="kill.supervisor kill.drain kill.timeout_orphan mem.cgroup_oom",
    tag="heartbeat_threshold",
    fix=(
        "Set the heartbeat's threshold to at least three times its interval, and "
        "remove the reason of the late answer."
    ),
    visible="P",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor kill.timeout_orphan net.silent_peer", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(kills,),
)
