"""Cause classes whose evidence is taken at the decisive moment."""

from __future__ import annotations

from receiver.investigate.class_tables.base import CauseClass, Nature, Via, cause_class, to

_AFTER = (
    to("fs.truncated", Via.SAME),
    to("kill.supervisor kill.drain kill.timeout_orphan kill.namespace_init", Via.SIGNAL),
    to("net.reset_short", Via.CONNECTION_ENDS),
    to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
)

CLASSES: tuple[CauseClass, ...] = (
    cause_class(
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
        brings=_AFTER,
    ),
    cause_class(
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
        brings=_AFTER,
    ),
    cause_class(
        name="kill.parent_death",
        title="it had asked to be ended with its parent, and the parent ended",
        predicts="a signal at the end of its parent",
        rivals="kill.supervisor kill.hangup",
        tag="keep_the_parent",
        fix="Find out why the parent ended. Keep it until its child is done.",
        needs="signal_state exit",
        brings=_AFTER,
    ),
    cause_class(
        name="kill.hangup",
        title="its terminal or its session ended",
        predicts="a SIGHUP by the kernel",
        rivals="kill.supervisor kill.parent_death",
        tag="detach_from_terminal",
        fix="Start it without a terminal: nohup, setsid, a service manager, or a scheduler.",
        needs="signal_state signal",
        brings=_AFTER,
    ),
    cause_class(
        name="kill.ignored_request",
        title="it ignored a request to end, and was killed later",
        predicts="a request to end that was ignored",
        rivals="kill.supervisor kill.drain kill.container_stopped",
        tag="handle_sigterm",
        fix=(
            "Handle SIGTERM: start the program with exec, run it below an init (tini, docker run "
            "--init), or install a handler that finishes in the grace period."
        ),
        needs="signal_state signal",
        brings=_AFTER,
    ),
    cause_class(
        name="mem.oom_disabled",
        title="a memory cgroup was full, and its OOM killer was off",
        predicts="a wait for memory of a full cgroup whose OOM killer is off",
        rivals="fs.slow_io mem.cgroup_oom mem.thrash",
        tag="enable_oom_killer",
        fix=(
            "Raise the limit of the cgroup, or make the step smaller. Write 0 to "
            "memory.oom_control, so that a full cgroup ends with an OOM kill and not with a hang."
        ),
        needs="memory_wait thread_wait",
        nature=Nature.DELAY,
        brings=(
            to("fs.slow_io mem.thrash", Via.SAME),
            to("kill.", Via.ANCESTOR),
            to("net.silent_peer", Via.CONNECTION_ENDS),
        ),
    ),
    cause_class(
        name="mem.high",
        title="the kernel slowed it down, because its cgroup was above memory.high",
        predicts="a wait above memory.high",
        rivals="fs.slow_io mem.thrash cpu.quota",
        tag="raise_memory_high",
        fix="Raise memory.high of the cgroup, or make the step smaller.",
        needs="thread_wait",
        nature=Nature.DELAY,
        brings=(
            to("fs.slow_io mem.thrash", Via.SAME),
            to("kill.", Via.ANCESTOR),
            to("net.silent_peer", Via.CONNECTION_ENDS),
        ),
    ),
    cause_class(
        name="hang.lock_holder_killed",
        title="the holder of a lock that processes share was killed",
        predicts="a kill of a process that shares a lock with those that wait",
        rivals="hang.fork_lock hang.pipe_full net.silent_peer",
        tag="end_workers_politely",
        fix=(
            "Do not kill a worker that may hold a lock of others: ask it to end, or replace the "
            "whole pool and its queues."
        ),
        visible="P",
        needs="thread_wait signal_state",
        brings=(
            to("hang.fork_lock", Via.SAME),
            to("hang.fork_lock", Via.PARENT),
            to("kill.", Via.ANCESTOR),
            to("net.silent_peer", Via.CONNECTION_ENDS),
        ),
    ),
    cause_class(
        name="mem.mappings",
        title="it had as many mappings as the kernel allows",
        predicts="an mmap that failed at vm.max_map_count",
        rivals="mem.rlimit mem.overcommit",
        tag="raise_map_count",
        fix="Raise vm.max_map_count, or let the program map fewer and larger pieces.",
        needs="memory_refused",
        brings=(
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
            to("crash. data.skew", Via.SAME),
        ),
    ),
    cause_class(
        name="mem.overcommit",
        title="the host's accounting of memory refused an allocation",
        predicts="an mmap that failed below all limits of the process",
        rivals="mem.rlimit mem.mappings mem.host_oom",
        tag="change_overcommit",
        fix=(
            "Let the program ask for less memory at once, add memory or swap to the host, or "
            "change vm.overcommit_memory and vm.overcommit_ratio."
        ),
        needs="memory_refused",
        brings=(
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
            to("crash. data.skew", Via.SAME),
        ),
    ),
    cause_class(
        name="fs.noexec",
        title="a library or program is on a mount that permits no execution",
        predicts="an executable mapping of a file on a mount with noexec",
        rivals="fs.eacces proc.interpreter",
        tag="mount_exec",
        fix="Mount the file system without noexec, or move the file to one that permits execution.",
        needs="memory_refused",
    ),
    cause_class(
        name="fs.unreadable",
        title="a page of a mapped file could not be provided",
        predicts="a SIGBUS inside of a mapped file",
        rivals="fs.replaced mem.shm_full fs.enospc",
        tag="check_device",
        fix=(
            "Check the kernel log for errors of the device or the server behind the file, and "
            "whether its file system is full."
        ),
        visible="P",
        needs="fault signal",
    ),
    cause_class(
        name="mem.hardware",
        title="memory of the host is damaged",
        predicts="a SIGBUS for a hardware error",
        rivals="mem.shm_full fs.replaced",
        tag="replace_memory",
        fix="Take the host out of use, and check its memory (the kernel log names the address).",
        needs="fault signal",
    ),
)
