"""Cause classes of exits, limits, CPU, data and time."""

from __future__ import annotations

from receiver.investigate.class_tables.base import CauseClass, Nature, Via, cause_class, to

CLASSES: tuple[CauseClass, ...] = (
    cause_class(
        name="cpu.quota",
        title="its CPU quota stopped it",
        predicts="periods in which its cgroup was throttled",
        rivals="cpu.neighbour fs.slow_io net.silent_peer",
        tag="match_threads_to_quota",
        fix="Set the number of threads to the quota, or raise the quota.",
        needs="process_sample",
        nature=Nature.DELAY,
        brings=(
            to("cpu.neighbour data.skew", Via.SAME),
            to("cpu.neighbour", Via.CGROUP),
            to("kill.timeout_orphan kill.heartbeat kill.probe kill.supervisor", Via.ANCESTOR),
        ),
    ),
    cause_class(
        name="cpu.neighbour",
        title="other processes used the CPU",
        predicts="a long wait for a CPU that others used",
        rivals="cpu.quota fs.slow_io data.skew",
        tag="isolate_cpu",
        fix="Move or limit the neighbour, or reserve CPUs for the task.",
        needs="process_sample neighbour",
        nature=Nature.DELAY,
        brings=(to("kill.timeout_orphan kill.heartbeat kill.probe kill.supervisor", Via.ANCESTOR),),
    ),
    cause_class(
        name="proc.exit_masked",
        title="a failure was not passed on, so the task looks successful",
        predicts="a failed child below a parent that reported success",
        rivals="kill.swallowed none.healthy proc.sigpipe",
        tag="pass_failures_on",
        fix=(
            "Use `set -euo pipefail` (or check PIPESTATUS or the return code), so that "
            "the failure fails the task."
        ),
        nature=Nature.FACET,
    ),
    cause_class(
        name="proc.sigpipe",
        title="a writer was ended because its reader had stopped reading",
        predicts="a SIGPIPE after a reader that exited with status 0",
        rivals="kill.supervisor crash.abort_ill",
        tag="tolerate_141",
        fix="This is no error: accept status 141, or let the reader read to the end.",
    ),
    cause_class(
        name="proc.interpreter",
        title="a program or its interpreter could not be started",
        predicts="an exec that failed",
        rivals="fs.eacces mem.cgroup_oom",
        tag="fix_path",
        fix="Install the program, or correct PATH, the shebang line or the execute permission.",
        needs="call_failed",
        brings=(
            to("fs.eacces", Via.SAME),
            to("net.reset_short", Via.CONNECTION_ENDS),
        ),
    ),
    cause_class(
        name="proc.zombies",
        title="ended children were not reaped, until no process could be created",
        predicts="many ended children of one parent",
        rivals="lim.pids",
        tag="reap_children",
        fix="Reap children (with an init such as tini as pid 1, or with wait()).",
        spreads=True,
        brings=(to("lim.pids", Via.SAME),),
    ),
    cause_class(
        name="proc.duplicate_run",
        title="the same work ran twice at once",
        predicts="a second process tree that does the same work",
        rivals="fs.concurrent_writers kill.timeout_orphan",
        tag="idempotent_or_locked",
        fix=(
            "Set the redelivery time above that of the longest task, use a lock, or write "
            "idempotently."
        ),
        visible="P",
        spreads=True,
        brings=(
            to("fs.", Via.SAME_FILE),
            to("fs.", Via.SAME),
        ),
    ),
    cause_class(
        name="lim.emfile",
        title="no file descriptor was free",
        predicts="a call that failed with EMFILE",
        rivals="lim.pids net.ports fs.eacces",
        tag="close_descriptors",
        fix="Close files and sockets after use, or raise the limit (ulimit -n).",
        needs="call_failed",
        brings=(
            to("net.dns", Via.SAME),
            to("net.reset_short", Via.CONNECTION_ENDS),
        ),
    ),
    cause_class(
        name="lim.pids",
        title="no process or thread could be created",
        predicts="a clone that failed with EAGAIN",
        rivals="proc.zombies lim.emfile mem.rlimit",
        tag="raise_pids",
        fix="Raise the pids limit, or start fewer processes and threads.",
        needs="call_failed",
        brings=(
            to("crash.abort_ill net.dns", Via.SAME),
            to("net.reset_short", Via.CONNECTION_ENDS),
        ),
    ),
    cause_class(
        name="data.skew",
        title="one part of the data was far larger than the others",
        predicts="one worker with several times the bytes of its siblings",
        rivals="cpu.neighbour fs.slow_io cpu.quota",
        tag="split_partition",
        fix="Split or salt the large part (AQE skew join, smaller files).",
        visible="P",
        nature=Nature.DELAY,
        brings=(
            to("cpu.neighbour", Via.SAME),
            to("kill.timeout_orphan kill.heartbeat kill.probe", Via.ANCESTOR),
        ),
    ),
    cause_class(
        name="time.clock",
        title="the wall clock was moved",
        predicts="a step of the wall clock",
        rivals="none.not_visible",
        tag="ntp",
        fix=("Let the clock be slewed (chrony, NTP), and do not compare times of different hosts."),
        visible="P",
        spreads=True,
    ),
)
