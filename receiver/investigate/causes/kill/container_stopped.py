"""The cause card kill.container_stopped."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.kill_origins import origins

CARD = cause_class(
    name="kill.container_stopped",
    title="its container was stopped from outside",
    predicts="a signal from a container runtime",
    rivals="kill.supervisor kill.namespace_init mem.cgroup_oom",
    tag="ask_the_platform",
    fix=(
        "Ask the platform why it stopped the container: a delete, a failed probe, a deadline "
        "or an eviction (kubectl describe pod, docker events)."
    ),
    visible="P",
    needs="signal_state signal",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor kill.drain kill.timeout_orphan kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(origins,),
)
