"""The cause classes: each has a title, a prediction, rivals and a fix.

`predicts` completes the sentence "Nothing shows …" for a rival without evidence. `needs` are the
kinds of events that must be complete for this sentence to be true. `visible` is K if kernel facts
prove the cause. It is P if they prove only the mechanism, and the reason needs other data.
"""

from __future__ import annotations

import msgspec


class Fix(msgspec.Struct, frozen=True):
    tag: str
    text: str


class CauseClass(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    title: str
    predicts: str
    rivals: tuple[str, ...]
    fix: Fix
    visible: str = "K"
    needs: tuple[str, ...] = ()


def _c(
    *,
    name: str,
    title: str,
    predicts: str,
    rivals: str,
    tag: str,
    fix: str,
    visible: str = "K",
    needs: str = "signal exit",
) -> CauseClass:
    return CauseClass(
        name=name,
        title=title,
        predicts=predicts,
        rivals=tuple(rivals.split()),
        fix=Fix(tag, fix),
        visible=visible,
        needs=tuple(needs.split()),
    )


_ALL = (
    _c(
        name="mem.cgroup_oom",
        title="its own memory reached the limit of its cgroup",
        predicts="an OOM kill in a memory cgroup by its own growth",
        rivals="mem.cgroup_neighbour mem.userspace_killer kill.supervisor mem.app_heap "
        "mem.host_oom",
        tag="raise_limit_or_split",
        fix=(
            "Raise the memory limit (or its share for memory overhead) for this step, or "
            "make the step smaller: split or repartition its input."
        ),
        needs="oom_kill signal",
    ),
    _c(
        name="mem.cgroup_neighbour",
        title="another process filled the memory cgroup that both share",
        predicts="another process that grew in its cgroup",
        rivals="mem.cgroup_oom mem.host_oom kill.supervisor",
        tag="isolate_memory",
        fix=(
            "Give the two processes memory cgroups of their own, or limit the other one. "
            "The killed process needs no more memory than before."
        ),
        needs="oom_kill neighbour",
    ),
    _c(
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
    _c(
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
    _c(
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
    _c(
        name="mem.host_oom",
        title="the whole host ran out of memory",
        predicts="an OOM kill by the host, not by a cgroup",
        rivals="mem.cgroup_oom mem.userspace_killer kill.supervisor",
        tag="host_memory",
        fix="Free or add memory on the host, and limit the process that used it.",
        needs="oom_kill",
    ),
    _c(
        name="mem.rlimit",
        title="a limit of its own address space or data made an allocation fail",
        predicts="an mmap or brk that failed with ENOMEM",
        rivals="mem.cgroup_oom mem.app_heap",
        tag="raise_rlimit",
        fix="Raise the process's own limit (ulimit -v, RLIMIT_AS), or use less memory.",
        needs="call_failed",
    ),
    _c(
        name="mem.thrash",
        title="it reads its own pages back again and again at the limit of its memory",
        predicts="many major faults at the memory limit",
        rivals="fs.slow_io none.healthy mem.cgroup_oom",
        tag="memory_headroom",
        fix="Keep the memory limit above the working set: raise the limit, or map less.",
        needs="process_sample",
    ),
    _c(
        name="mem.shm_full",
        title="shared memory or a tmpfs was full",
        predicts="a SIGBUS or a full tmpfs",
        rivals="mem.cgroup_oom fs.replaced fs.enospc",
        tag="grow_shm",
        fix="Enlarge /dev/shm (shm_size, emptyDir medium Memory), or store the data elsewhere.",
    ),
    _c(
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
    ),
    _c(
        name="kill.supervisor",
        title="another process ended it with a signal",
        predicts="a signal from another process",
        rivals="mem.cgroup_oom kill.drain kill.timeout_orphan kill.heartbeat mem.userspace_killer",
        tag="ask_the_sender",
        fix=(
            "Find out why the sender sent the signal. The process itself did not fail, "
            "and more memory would not help."
        ),
    ),
    _c(
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
    ),
    _c(
        name="kill.probe",
        title="a health probe that was too slow caused its restart",
        predicts="probes that were ended at the same age several times",
        rivals="kill.drain kill.supervisor kill.heartbeat",
        tag="cheaper_probe",
        fix="Make the probe cheaper or its timeout longer: the process itself was working.",
        visible="P",
    ),
    _c(
        name="kill.swallowed",
        title="it was asked to end, did so, and reported success",
        predicts="a signal that was handled, followed by exit status 0",
        rivals="kill.supervisor proc.exit_masked none.healthy",
        tag="fail_on_signal",
        fix=(
            "End the handler with a failure (raise, exit 143), so that the task is not "
            "marked as a success."
        ),
    ),
    _c(
        name="kill.timeout_orphan",
        title="a time limit ended it",
        predicts="a timer or a timeout command that ended it",
        rivals="kill.supervisor kill.heartbeat kill.drain mem.cgroup_oom",
        tag="raise_timeout",
        fix=(
            "Raise the time limit or make the step faster, and let the limit end the "
            "whole process group."
        ),
    ),
    _c(
        name="fs.truncated",
        title=(
            "a writer was ended in the middle of a file, and the next step used the incomplete file"
        ),
        predicts="a file left open by a writer that was ended",
        rivals="fs.read_early fs.enospc fs.stale_input none.not_visible",
        tag="atomic_write",
        fix=(
            "Write to a temporary name, fsync, then rename. Let the reader wait for the "
            "task's success or for a marker file."
        ),
        needs="open_file file_opened signal",
    ),
    _c(
        name="fs.read_early",
        title="a file was read while it was still being written",
        predicts="a reader that finished before the writer",
        rivals="fs.truncated fs.stale_input fs.concurrent_writers",
        tag="wait_for_marker",
        fix=(
            "Let the reader wait until the writer has finished (dependency, rename into "
            "place, marker file)."
        ),
        needs="file_opened",
    ),
    _c(
        name="fs.enospc",
        title="a file system was full",
        predicts="a write that failed with ENOSPC",
        rivals="fs.inodes_quota mem.shm_full fs.eacces",
        tag="free_space",
        fix=(
            "Free or add space on that file system, or use another one. The report names "
            "the largest writer."
        ),
        needs="call_failed",
    ),
    _c(
        name="fs.inodes_quota",
        title="a file system had no inodes or no quota left",
        predicts="a create that failed while there was room",
        rivals="fs.enospc fs.eacces",
        tag="free_inodes",
        fix="Delete small files or raise the quota: the space itself is not used up.",
        needs="call_failed",
    ),
    _c(
        name="fs.lock",
        title="a lock that another process holds was refused",
        predicts="a lock that was refused",
        rivals="fs.eacces fs.concurrent_writers db.lock_wait",
        tag="serialise",
        fix=(
            "Run the two one after the other, or open read-only. Remove a stale lock "
            "after you have checked its owner."
        ),
        needs="call_failed",
    ),
    _c(
        name="fs.eacces",
        title="it had no permission for a file",
        predicts="a file operation that was denied",
        rivals="fs.enospc proc.interpreter fs.lock",
        tag="fix_ownership",
        fix=(
            "Set the owner or the mode of the path (or mount it writable) for the user that the "
            "task runs as."
        ),
        needs="call_failed",
    ),
    _c(
        name="fs.concurrent_writers",
        title="two writers had one file open at the same time",
        predicts="two writers of one file at the same time",
        rivals="fs.read_early proc.duplicate_run fs.truncated",
        tag="unique_path",
        fix="Give each writer a path of its own, or run them one after the other.",
        needs="file_opened",
    ),
    _c(
        name="fs.replaced",
        title="a file was replaced, truncated or deleted while it was read",
        predicts="a change to a file that its reader had open",
        rivals="mem.shm_full crash.segv fs.read_early",
        tag="immutable_inputs",
        fix=(
            "Write new versions under new names, and delete old ones only when no reader uses them."
        ),
        needs="file_opened file_changed",
    ),
    _c(
        name="fs.stale_input",
        title="it read an older file instead of this run's file",
        predicts="an input that this run did not write",
        rivals="fs.read_early fs.truncated none.not_visible",
        tag="freshness_gate",
        fix=(
            "Put the run's id or date into the path, and check that the input belongs to this run."
        ),
        visible="P",
        needs="file_opened",
    ),
    _c(
        name="fs.netfs",
        title="a network file system did not answer",
        predicts="a wait on a network file system",
        rivals="fs.slow_io net.silent_peer",
        tag="check_file_server",
        fix="Check the file server and its network; mount with a timeout (soft).",
        needs="thread_wait",
    ),
    _c(
        name="fs.slow_io",
        title="storage stalled",
        predicts="threads that waited for storage in uninterruptible sleep",
        rivals="mem.thrash cpu.neighbour net.silent_peer",
        tag="check_storage",
        fix="Check the device or its I/O limit. Nothing in the process itself was slow.",
        needs="process_sample",
    ),
    _c(
        name="net.pool",
        title="all connections of a pool, or all slots of a server, were in use",
        predicts="connections that were all in use at once",
        rivals="net.silent_peer net.blackhole lim.emfile net.credential",
        tag="bigger_pool",
        fix=(
            "Make the pool at least as large as the number of its users, close responses "
            "after reading, or use a pooler in front."
        ),
        visible="P",
        needs="connection",
    ),
    _c(
        name="net.idle_drop",
        title="a connection that had been idle was dropped on the way",
        predicts="an idle time before the connection broke",
        rivals="net.silent_peer net.reset_short net.blackhole",
        tag="keepalive",
        fix=(
            "Enable TCP keep-alive with an interval below the idle limit of the network "
            "in between, or recycle idle connections."
        ),
        needs="connection",
    ),
    _c(
        name="net.dns",
        title="a name could not be resolved",
        predicts="a query to a name server without a good answer",
        rivals="net.blackhole net.backlog_refused",
        tag="fix_dns",
        fix="Check the name server (or the number of search domains); cache answers.",
        needs="name_query",
    ),
    _c(
        name="net.credential",
        title="a refresh of credentials delayed all other work",
        predicts="a call to a token service while all other work waits",
        rivals="net.pool net.silent_peer net.dns",
        tag="refresh_early",
        fix="Refresh credentials early, and with a client, a timeout and a pool of their own.",
        visible="P",
        needs="connection",
    ),
    _c(
        name="net.blackhole",
        title="packets to a peer are lost",
        predicts="SYNs without an answer",
        rivals="net.backlog_refused net.dns net.silent_peer",
        tag="open_the_way",
        fix="Allow the traffic (security group, route, firewall), and set a connect timeout.",
        needs="connection",
    ),
    _c(
        name="net.silent_peer",
        title="a peer received the request and did not answer",
        predicts="a request that was acknowledged and not answered",
        rivals="net.idle_drop db.lock_wait net.blackhole net.pool",
        tag="read_timeout",
        fix="Set a read timeout, and examine the peer: the network delivered the request.",
        needs="connection",
    ),
    _c(
        name="net.reset_short",
        title="a peer broke the connection before its end",
        predicts="a reset by the peer",
        rivals="mem.child_oom net.idle_drop net.backlog_refused",
        tag="retry_and_check_peer",
        fix=(
            "Find out why the peer closed the connection. Retry idempotent requests, and "
            "check lengths."
        ),
        needs="connection",
    ),
    _c(
        name="net.ports",
        title="no local port was free for an endpoint",
        predicts="a connect that failed with EADDRNOTAVAIL",
        rivals="net.backlog_refused lim.emfile",
        tag="reuse_connections",
        fix="Keep connections alive and reuse them (session, pool).",
        needs="call_failed",
    ),
    _c(
        name="net.backlog_refused",
        title="no process accepted the connection",
        predicts="a refused connection, or a full accept queue",
        rivals="net.blackhole net.dns",
        tag="readiness",
        fix="Start the server first and wait until it listens; enlarge its backlog.",
        needs="connection",
    ),
    _c(
        name="net.mtu",
        title="large packets are lost, and small ones arrive",
        predicts="large packets that were not acknowledged while small ones were",
        rivals="net.silent_peer net.idle_drop net.blackhole",
        tag="lower_mtu",
        fix="Lower the MTU, or allow ICMP 'fragmentation needed'.",
        visible="P",
        needs="connection",
    ),
    _c(
        name="db.lock_wait",
        title="a database delayed its answer because of a lock",
        predicts="a silent database while another client has an open transaction",
        rivals="net.silent_peer net.pool fs.lock",
        tag="end_the_holder",
        fix="End or commit the transaction of the other client; set lock_timeout.",
        visible="P",
        needs="connection",
    ),
    _c(
        name="cpu.quota",
        title="its CPU quota stopped it",
        predicts="periods in which its cgroup was throttled",
        rivals="cpu.neighbour fs.slow_io net.silent_peer",
        tag="match_threads_to_quota",
        fix="Set the number of threads to the quota, or raise the quota.",
        needs="process_sample",
    ),
    _c(
        name="cpu.neighbour",
        title="other processes used the CPU",
        predicts="a long wait for a CPU that others used",
        rivals="cpu.quota fs.slow_io data.skew",
        tag="isolate_cpu",
        fix="Move or limit the neighbour, or reserve CPUs for the task.",
        needs="process_sample neighbour",
    ),
    _c(
        name="hang.fork_lock",
        title="a child of a threaded process waits for a lock that no thread can release",
        predicts="a single-threaded fork of a threaded parent that waits forever in futex",
        rivals="hang.pipe_full net.silent_peer fs.slow_io",
        tag="spawn",
        fix=("Start children with spawn or forkserver, not with fork from a process with threads."),
        needs="thread_wait",
    ),
    _c(
        name="hang.pipe_full",
        title="two processes wait for each other at a pipe",
        predicts="a wait on a pipe whose other end waits, too",
        rivals="hang.fork_lock net.silent_peer",
        tag="drain_pipes",
        fix=(
            "Read the child's output while it runs (communicate(), a thread for each "
            "pipe), or write it to a file."
        ),
        needs="thread_wait",
    ),
    _c(
        name="hang.gc_stall",
        title="garbage collection used all the time",
        predicts="a busy JVM that transfers no data",
        rivals="mem.app_heap cpu.quota kill.heartbeat",
        tag="raise_heap",
        fix="Raise the heap limit or split the work; read the collector's log.",
        visible="P",
        needs="process_sample",
    ),
    _c(
        name="crash.segv",
        title="native code crashed",
        predicts="a fault in its own code",
        rivals="kill.supervisor crash.abort_ill fs.replaced mem.shm_full",
        tag="pin_library",
        fix=(
            "Pin or upgrade the native library that the stack names, and report the crash "
            "to its authors."
        ),
    ),
    _c(
        name="crash.abort_ill",
        title="it aborted itself, or used an instruction that this CPU does not have",
        predicts="a SIGABRT, SIGILL or SIGFPE that it caused itself",
        rivals="kill.supervisor crash.segv mem.app_heap",
        tag="pin_library",
        fix="Read the assertion on stderr; pin or upgrade the library, or build it for this CPU.",
    ),
    _c(
        name="proc.exit_masked",
        title="a failure was not passed on, so the task looks successful",
        predicts="a failed child below a parent that reported success",
        rivals="kill.swallowed none.healthy proc.sigpipe",
        tag="pass_failures_on",
        fix=(
            "Use `set -euo pipefail` (or check PIPESTATUS or the return code), so that "
            "the failure fails the task."
        ),
    ),
    _c(
        name="proc.sigpipe",
        title="a writer was ended because its reader had stopped reading",
        predicts="a SIGPIPE after a reader that exited with status 0",
        rivals="kill.supervisor crash.abort_ill",
        tag="tolerate_141",
        fix="This is no error: accept status 141, or let the reader read to the end.",
    ),
    _c(
        name="proc.interpreter",
        title="a program or its interpreter could not be started",
        predicts="an exec that failed",
        rivals="fs.eacces mem.cgroup_oom",
        tag="fix_path",
        fix="Install the program, or correct PATH, the shebang line or the execute permission.",
        needs="call_failed",
    ),
    _c(
        name="proc.zombies",
        title="ended children were not reaped, until no process could be created",
        predicts="many ended children of one parent",
        rivals="lim.pids",
        tag="reap_children",
        fix="Reap children (with an init such as tini as pid 1, or with wait()).",
    ),
    _c(
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
    ),
    _c(
        name="lim.emfile",
        title="no file descriptor was free",
        predicts="a call that failed with EMFILE",
        rivals="lim.pids net.ports fs.eacces",
        tag="close_descriptors",
        fix="Close files and sockets after use, or raise the limit (ulimit -n).",
        needs="call_failed",
    ),
    _c(
        name="lim.pids",
        title="no process or thread could be created",
        predicts="a clone that failed with EAGAIN",
        rivals="proc.zombies lim.emfile mem.rlimit",
        tag="raise_pids",
        fix="Raise the pids limit, or start fewer processes and threads.",
        needs="call_failed",
    ),
    _c(
        name="data.skew",
        title="one part of the data was far larger than the others",
        predicts="one worker with several times the bytes of its siblings",
        rivals="cpu.neighbour fs.slow_io cpu.quota",
        tag="split_partition",
        fix="Split or salt the large part (AQE skew join, smaller files).",
        visible="P",
    ),
    _c(
        name="time.clock",
        title="the wall clock was moved",
        predicts="a step of the wall clock",
        rivals="none.not_visible",
        tag="ntp",
        fix=("Let the clock be slewed (chrony, NTP), and do not compare times of different hosts."),
        visible="P",
    ),
)
CLASSES = {c.name: c for c in _ALL}
HEALTHY = CauseClass(
    name="none.healthy",
    title="nothing went wrong",
    predicts="",
    rivals=(),
    fix=Fix("none", "Nothing to do."),
)
NOT_VISIBLE = CauseClass(
    name="none.not_visible",
    title="the kernel does not see the cause",
    predicts="",
    rivals=(),
    fix=Fix(
        "look_elsewhere",
        "Examine the data, the program's logic and its own log, or the remote service.",
    ),
    visible="N",
)
