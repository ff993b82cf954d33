"""The cause card mem.host_oom."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.absences import cgroup_not_host
from receiver.investigate.causes.oom import oom_kills

CARD = cause_class(
    name="mem.host_oom",
    title="the whole host ran out of memory",
    predicts="an OOM kill by the host, not by a cgroup",
    rivals="mem.cgroup_oom mem.userspace_killer kill.supervisor",
    tag="host_memory",
    fix="Free or add memory on the host, and limit the process that used it.",
    needs="oom_kill",
    brings=(
        to("fs.truncated", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("kill.", Via.SIGNAL),
        to("data.skew", Via.SAME),
    ),
    absence=cgroup_not_host,
    find=(oom_kills,),
)
