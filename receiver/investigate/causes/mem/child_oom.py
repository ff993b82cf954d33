"""The cause card mem.child_oom."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.absences import no_oom
from receiver.investigate.causes.oom import oom_kills

CARD = cause_class(
    name="mem.child_oom",
    title="a child was OOM-killed, and its parent reported another error",
    predicts="an OOM kill of a child that the parent needed",
    rivals="net.reset_short hang.pipe_full mem.app_heap mem.cgroup_oom",
    tag="raise_limit_or_split",
    fix=(
        "Give the child more memory or less work. Let the parent notice the death of "
        "a child (ProcessPoolExecutor, memory.oom.group)."
    ),
    needs="oom_kill signal",
    brings=(
        to("mem.cgroup_oom", Via.SAME),
        to("kill.supervisor kill.drain", Via.PARENT),
        to("fs.truncated", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        to("net.silent_peer", Via.CONNECTION_ENDS),
        to("net.blackhole net.idle_drop net.pool", Via.CONNECTION_ENDS),
        to("hang.", Via.PARENT),
        to("kill.", Via.ANCESTOR),
        to("proc.sigpipe", Via.PIPE),
        to("data.skew", Via.SAME),
    ),
    absence=no_oom,
    find=(oom_kills,),
)
