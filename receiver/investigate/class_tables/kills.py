"""Cause classes of signals and crashes."""

from __future__ import annotations

from receiver.investigate.class_tables.base import CauseClass, Via, cause_class, to

CLASSES: tuple[CauseClass, ...] = (
    cause_class(
        name="kill.heartbeat",
        title="its supervisor ended it because a heartbeat was late, although it was working",
        predicts="a late answer to its supervisor, then a signal by it",
        rivals="kill.supervisor kill.drain kill.timeout_orphan mem.cgroup_oom",
        tag="heartbeat_threshold",
        fix=(
            "Set the heartbeat's threshold to at least three times its interval, and "
            "remove the reason of the late answer."
        ),
        visible="P",
        brings=(
            to("fs.truncated", Via.SAME),
            to("kill.supervisor kill.timeout_orphan net.silent_peer", Via.SIGNAL),
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        ),
    ),
    cause_class(
        name="kill.supervisor",
        title="another process ended it with a signal",
        predicts="a signal from another process",
        rivals="mem.cgroup_oom kill.drain kill.timeout_orphan kill.heartbeat mem.userspace_killer",
        tag="ask_the_sender",
        fix=(
            "Find out why the sender sent the signal. The process itself did not fail, "
            "and more memory would not help."
        ),
        brings=(
            to("fs.truncated", Via.SAME),
            to("kill.namespace_init", Via.SIGNAL),
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        ),
    ),
    cause_class(
        name="kill.drain",
        title="its whole group was asked to end, and the remaining processes were killed",
        predicts="one sender that signals the whole group",
        rivals="kill.supervisor kill.heartbeat kill.probe mem.cgroup_oom",
        tag="longer_grace",
        fix=(
            "Set the grace period longer than the task, or protect the task from the "
            "drain (disruption budget, own session)."
        ),
        visible="P",
        brings=(
            to("fs.truncated", Via.SAME),
            to("kill.supervisor", Via.SIGNAL),
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        ),
    ),
    cause_class(
        name="kill.probe",
        title="a health probe that was too slow caused its restart",
        predicts="probes that were ended at the same age several times",
        rivals="kill.drain kill.supervisor kill.heartbeat",
        tag="cheaper_probe",
        fix="Make the probe cheaper or its timeout longer: the process itself was working.",
        visible="P",
        brings=(
            to("fs.truncated", Via.SAME),
            to("kill.supervisor kill.drain kill.timeout_orphan kill.namespace_init", Via.SIGNAL),
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        ),
    ),
    cause_class(
        name="kill.swallowed",
        title="it was asked to end, did so, and reported success",
        predicts="a signal that was handled, followed by exit status 0",
        rivals="kill.supervisor proc.exit_masked none.healthy",
        tag="fail_on_signal",
        fix=(
            "End the handler with a failure (raise, exit 143), so that the task is not "
            "marked as a success."
        ),
        brings=(
            to("kill.", Via.SIGNAL),
            to("fs.truncated", Via.SAME),
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        ),
    ),
    cause_class(
        name="kill.timeout_orphan",
        title="a time limit ended it",
        predicts="a timer or a timeout command that ended it",
        rivals="kill.supervisor kill.heartbeat kill.drain mem.cgroup_oom",
        tag="raise_timeout",
        fix=(
            "Raise the time limit or make the step faster, and let the limit end the "
            "whole process group."
        ),
        brings=(
            to("fs.truncated", Via.SAME),
            to("kill.supervisor", Via.SIGNAL),
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        ),
    ),
    cause_class(
        name="crash.segv",
        title="native code crashed",
        predicts="a fault in its own code",
        rivals="kill.supervisor crash.abort_ill fs.replaced mem.shm_full",
        tag="pin_library",
        fix=(
            "Pin or upgrade the native library that the stack names, and report the crash "
            "to its authors."
        ),
        brings=(
            to("fs.truncated", Via.SAME),
            to("kill.namespace_init", Via.SIGNAL),
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        ),
    ),
    cause_class(
        name="crash.abort_ill",
        title="it aborted itself, or used an instruction that this CPU does not have",
        predicts="a SIGABRT, SIGILL or SIGFPE that it caused itself",
        rivals="kill.supervisor crash.segv mem.app_heap",
        tag="pin_library",
        fix="Read the assertion on stderr; pin or upgrade the library, or build it for this CPU.",
        brings=(
            to("fs.truncated", Via.SAME),
            to("kill.namespace_init", Via.SIGNAL),
            to("net.reset_short", Via.CONNECTION_ENDS),
            to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
        ),
    ),
)
