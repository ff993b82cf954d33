"""Cause classes in memory."""

from __future__ import annotations

from receiver.investigate.class_tables.base import CauseClass, cause_class

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
    ),
    cause_class(
        name="mem.host_oom",
        title="the whole host ran out of memory",
        predicts="an OOM kill by the host, not by a cgroup",
        rivals="mem.cgroup_oom mem.userspace_killer kill.supervisor",
        tag="host_memory",
        fix="Free or add memory on the host, and limit the process that used it.",
        needs="oom_kill",
    ),
    cause_class(
        name="mem.rlimit",
        title="a limit of its own address space or data made an allocation fail",
        predicts="an mmap or brk that failed with ENOMEM",
        rivals="mem.cgroup_oom mem.app_heap",
        tag="raise_rlimit",
        fix="Raise the process's own limit (ulimit -v, RLIMIT_AS), or use less memory.",
        needs="call_failed",
    ),
    cause_class(
        name="mem.thrash",
        title="it reads its own pages back again and again at the limit of its memory",
        predicts="many major faults at the memory limit",
        rivals="fs.slow_io none.healthy mem.cgroup_oom",
        tag="memory_headroom",
        fix="Keep the memory limit above the working set: raise the limit, or map less.",
        needs="process_sample",
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
    ),
)
