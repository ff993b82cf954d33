"""The cause card kill.timeout_orphan."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.kills import kills

CARD = cause_class(
    name="kill.timeout_orphan",
    title="a time limit ended it",
    predicts="a timer or a timeout command that ended it",
    rivals="kill.supervisor kill.heartbeat kill.drain mem.cgroup_oom",
    tag="raise_timeout",
    fix=(
        "Raise the time limit or make the step faster, and let the limit end the "
        "whole process group."
    ),
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(kills,),
)
