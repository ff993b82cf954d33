"""The cause card mem.cgroup_oom."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.absences import no_oom
from receiver.investigate.causes.oom import oom_kills

CARD = cause_class(
    name="mem.cgroup_oom",
    title="the memory limit of its cgroup was reached",
    predicts="an OOM kill in a memory cgroup",
    rivals="mem.cgroup_neighbour mem.userspace_killer kill.supervisor mem.app_heap mem.host_oom",
    finding=sc.EVENT_PROCESS_OOM_KILLED,
    tag="raise_limit_or_split",
    fix=(
        "Raise the memory limit (or its share for memory overhead) for this step, or "
        "make the step smaller: split or repartition its input."
    ),
    needs="oom_kill signal",
    brings=(
        to("fs.truncated", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("kill.", Via.SIGNAL),
        to("data.skew", Via.SAME),
    ),
    absence=no_oom,
    find=(oom_kills,),
)
