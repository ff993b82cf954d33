"""The cause card kill.drain."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.absences import no_sender
from receiver.investigate.causes.kills import kills

CARD = cause_class(
    name="kill.drain",
    title="its whole group was asked to end, and the remaining processes were killed",
    predicts="one sender that signals the whole group",
    rivals="kill.supervisor kill.heartbeat kill.probe mem.cgroup_oom",
    tag="longer_grace",
    fix=(
        "Set the grace period longer than the task, or protect the task from the "
        "drain (disruption budget, own session)."
    ),
    visible="P",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    absence=no_sender,
    find=(kills,),
)
