"""The cause card kill.supervisor."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.absences import no_sender
from receiver.investigate.causes.kills import kills

CARD = cause_class(
    name="kill.supervisor",
    title="another process ended it with a signal",
    predicts="a signal from another process",
    rivals="mem.cgroup_oom kill.drain kill.timeout_orphan kill.heartbeat mem.userspace_killer",
    finding=sc.EVENT_PROCESS_KILLED,
    tag="ask_the_sender",
    fix=(
        "Find out why the sender sent the signal. The process itself did not fail, "
        "and more memory would not help."
    ),
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    absence=no_sender,
    find=(kills,),
)
