"""The cause card mem.cgroup_neighbour."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.absences import own_growth
from receiver.investigate.causes.oom import oom_kills

CARD = cause_class(
    name="mem.cgroup_neighbour",
    title="another process took the memory of the cgroup that both share",
    predicts="another process that took most of the memory of its cgroup",
    rivals="mem.cgroup_oom mem.host_oom kill.supervisor",
    tag="isolate_memory",
    fix=(
        "Give the two processes memory cgroups of their own, or limit the other one. "
        "The killed process needs no more memory than before."
    ),
    needs="oom_kill neighbour",
    brings=(
        to("fs.truncated", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("kill.", Via.SIGNAL),
        to("data.skew", Via.SAME),
    ),
    absence=own_growth,
    find=(oom_kills,),
)
