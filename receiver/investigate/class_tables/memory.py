"""Cause classes in memory."""

from __future__ import annotations

from receiver.investigate.class_tables.base import CauseClass, Nature, Via, cause_class, to

CLASSES: tuple[CauseClass, ...] = (
    cause_class(
        name="mem.cgroup_oom",
        title="the memory limit of its cgroup was reached",
        predicts="an OOM kill in a memory cgroup",
        rivals="mem.cgroup_neighbour mem.userspace_killer kill.supervisor mem.app_heap "
        "mem.host_oom",
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
    ),
    cause_class(
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
    ),
    cause_class(
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
    ),
    cause_class(
        name="mem.userspace_killer",
        title="a user-space OOM killer killed it",
        predicts="a SIGKILL by a process while its memory was growing",
        rivals="mem.cgroup_oom kill.supervisor mem.host_oom",
        tag="tune_memory_killer",
        fix=(
            "Give the step more memory or less work, or raise the threshold of the "
            "user-space OOM killer."
        ),
        needs="signal process_sample",
        brings=(
            to("fs.truncated", Via.SAME),
            to("kill.", Via.SIGNAL),
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
            to("data.skew", Via.SAME),
        ),
    ),
    cause_class(
        name="mem.app_heap",
        title="it reached its own heap limit, while the container had free memory",
        predicts="an exit by itself while its memory was constant",
        rivals="mem.cgroup_oom hang.gc_stall kill.supervisor",
        tag="raise_heap",
        fix=(
            "Raise the application's own heap limit (-Xmx, --max-old-space-size), or "
            "split its work. The container had free memory."
        ),
        visible="P",
        brings=(
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
            to("hang.gc_stall data.skew", Via.SAME),
        ),
    ),
    cause_class(
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
    ),
    cause_class(
        name="mem.rlimit",
        title="a limit of its own address space or data made an allocation fail",
        predicts="an mmap or brk that failed with ENOMEM",
        rivals="mem.cgroup_oom mem.app_heap",
        tag="raise_rlimit",
        fix="Raise the process's own limit (ulimit -v, RLIMIT_AS), or use less memory.",
        needs="call_failed",
        brings=(
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
            to("crash. data.skew", Via.SAME),
        ),
    ),
    cause_class(
        name="mem.thrash",
        title="it reads its own pages back again and again at the limit of its memory",
        predicts="many major faults at the memory limit",
        rivals="fs.slow_io none.healthy mem.cgroup_oom",
        tag="memory_headroom",
        fix="Keep the memory limit above the working set: raise the limit, or map less.",
        needs="process_sample",
        nature=Nature.DELAY,
        brings=(
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
            to("fs.slow_io cpu.neighbour data.skew", Via.SAME),
            to("cpu.neighbour", Via.CGROUP),
            to("kill.supervisor kill.timeout_orphan kill.heartbeat", Via.ANCESTOR),
        ),
    ),
    cause_class(
        name="mem.shm_full",
        title="shared memory or a tmpfs was full",
        predicts="a SIGBUS or a full tmpfs",
        rivals="mem.cgroup_oom fs.replaced fs.enospc",
        tag="grow_shm",
        fix=(
            "Store the data on a disk, or remove files from the tmpfs. If that one is full, "
            "enlarge it (/dev/shm: shm_size, emptyDir medium Memory)."
        ),
        brings=(
            to("fs.truncated", Via.SAME),
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
            to("crash. data.skew", Via.SAME),
        ),
    ),
)
