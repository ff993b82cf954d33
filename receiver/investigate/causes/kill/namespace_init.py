"""The cause card kill.namespace_init."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.kill_origins import origins

CARD = cause_class(
    name="kill.namespace_init",
    title="the first process of its pid namespace ended, and the kernel killed the rest",
    predicts="the end of the first process of its pid namespace",
    rivals="kill.supervisor kill.container_stopped mem.cgroup_oom",
    tag="wait_for_children",
    fix=(
        "Let the first process of the container wait for all its children before it ends, or "
        "run them below a small init (tini, docker run --init)."
    ),
    needs="signal_state exit",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor kill.drain kill.timeout_orphan kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(origins,),
)
