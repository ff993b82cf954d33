"""Cause classes whose evidence is taken at the decisive moment."""

from __future__ import annotations

from receiver.investigate.class_tables.base import CauseClass, Via, cause_class, to

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
