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
        fix="Raise the memory limit (or the overhead share of it) for this step, or make the step "
        "smaller: split or repartition its "
        "input.",
        needs="oom_kill signal",
    ),
    _c(
        name="mem.cgroup_neighbour",
        title="somebody else's growth filled the memory that it shares",
        predicts="another process that grew in its cgroup",
        rivals="mem.cgroup_oom mem.host_oom kill.supervisor",
        tag="isolate_memory",
        fix=(
            "Give the two memory cgroups of their own, or limit the neighbour; the one that was "
            "killed needs no more than before."
        ),
        needs="oom_kill neighbour",
    ),
    _c(
        name="mem.child_oom",
        title="a child was OOM-killed, and its parent tells something else",
        predicts="an OOM kill of a child that the parent needed",
        rivals="net.reset_short hang.pipe_full mem.app_heap mem.cgroup_oom",
        tag="raise_limit_or_split",
        fix=(
            "Give the child more memory or less to do; let the parent notice its death "
            "(ProcessPoolExecutor, memory.oom.group)."
        ),
        needs="oom_kill signal",
    ),
    _c(
        name="mem.userspace_killer",
        title="a process that guards memory killed it",
        predicts="a SIGKILL by a process while its memory was growing",
        rivals="mem.cgroup_oom kill.supervisor mem.host_oom",
        tag="tune_memory_killer",
        fix="Give the step more memory or less to do, or raise the threshold of the memory guard.",
        needs="signal process_sample",
    ),
    _c(
        name="mem.app_heap",
        title="its own heap limit was reached inside a healthy container",
        predicts="an exit by its own decision with its memory at a plateau",
        rivals="mem.cgroup_oom hang.gc_stall kill.supervisor",
        tag="raise_heap",
        fix=(
            "Raise the application's own heap limit (-Xmx, --max-old-space-size) or cut its work "
            "smaller; the container had room."
        ),
        visible="P",
    ),
    _c(
        name="mem.host_oom",
        title="the whole host ran out of memory",
        predicts="an OOM kill by the host, not by a cgroup",
        rivals="mem.cgroup_oom mem.userspace_killer kill.supervisor",
        tag="host_memory",
        fix="Free or add memory on the host, and limit the process that took it.",
        needs="oom_kill",
    ),
    _c(
        name="mem.rlimit",
        title="a limit of its own address space or data refused it memory",
        predicts="an mmap or brk that failed with ENOMEM",
        rivals="mem.cgroup_oom mem.app_heap",
        tag="raise_rlimit",
        fix="Raise the process's own limit (ulimit -v, RLIMIT_AS) or need less memory.",
        needs="call_failed",
    ),
    _c(
        name="mem.thrash",
        title="it reads its own pages back again and again at the edge of its memory",
        predicts="a storm of major faults at the limit",
        rivals="fs.slow_io none.healthy mem.cgroup_oom",
        tag="memory_headroom",
        fix="Leave headroom above the working set: raise the limit or shrink what is mapped.",
        needs="process_sample",
    ),
    _c(
        name="mem.shm_full",
        title="shared memory or a tmpfs was full",
        predicts="a SIGBUS or a full tmpfs",
        rivals="mem.cgroup_oom fs.replaced fs.enospc",
        tag="grow_shm",
        fix="Make /dev/shm (shm_size, emptyDir medium Memory) larger, or keep the data elsewhere.",
    ),
    _c(
        name="kill.heartbeat",
        title="its supervisor ended it because a heartbeat was late, though it was working",
        predicts="a late answer to its supervisor, then a signal by it",
        rivals="kill.supervisor kill.drain kill.timeout_orphan mem.cgroup_oom",
        tag="heartbeat_threshold",
        fix=(
            "Make the heartbeat's threshold at least three times its interval, and mend what made "
            "the answer late."
        ),
        visible="P",
    ),
    _c(
        name="kill.supervisor",
        title="another process ended it by a signal",
        predicts="a signal from another process",
        rivals="mem.cgroup_oom kill.drain kill.timeout_orphan kill.heartbeat mem.userspace_killer",
        tag="ask_the_sender",
        fix=(
            "Ask the sender of the signal; the process itself did not fail, and more memory would "
            "not help."
        ),
    ),
    _c(
        name="kill.drain",
        title="its whole group was told to go, and what was left was killed",
        predicts="one sender that signals the whole group",
        rivals="kill.supervisor kill.heartbeat kill.probe mem.cgroup_oom",
        tag="longer_grace",
        fix=(
            "Make the grace period longer than the task, or keep the task from being drained "
            "(disruption budget, own session)."
        ),
        visible="P",
    ),
    _c(
        name="kill.probe",
        title="a health probe that is too slow had it restarted",
        predicts="probes that were ended at the same age, again and again",
        rivals="kill.drain kill.supervisor kill.heartbeat",
        tag="cheaper_probe",
        fix="Make the probe cheaper or its timeout longer: the process itself was working.",
        visible="P",
    ),
    _c(
        name="kill.swallowed",
        title="it was told to end, did, and reported success",
        predicts="a handled signal, then status 0",
        rivals="kill.supervisor proc.exit_masked none.healthy",
        tag="fail_on_signal",
        fix=(
            "Let the handler end with a failure (raise, exit 143) so that the task is not marked a "
            "success."
        ),
    ),
    _c(
        name="kill.timeout_orphan",
        title="a time limit ended it",
        predicts="a timer or a timeout command that ended it",
        rivals="kill.supervisor kill.heartbeat kill.drain mem.cgroup_oom",
        tag="raise_timeout",
        fix="Raise the time limit or make the step faster, and end the whole process group with "
        "it.",
    ),
    _c(
        name="fs.truncated",
        title="a writer was ended in the middle of a file, and the next step took what was there",
        predicts="a file left open by a writer that was ended",
        rivals="fs.read_early fs.enospc fs.stale_input none.not_visible",
        tag="atomic_write",
        fix=(
            "Write to a temporary name, fsync, then rename; gate the reader on the task's success "
            "or on a marker."
        ),
        needs="open_file file_opened signal",
    ),
    _c(
        name="fs.read_early",
        title="a file was read while it was still being written",
        predicts="a reader that was done before the writer",
        rivals="fs.truncated fs.stale_input fs.concurrent_writers",
        tag="wait_for_marker",
        fix="Let the reader wait for the writer's end (dependency, rename into place, marker "
        "file).",
        needs="file_opened",
    ),
    _c(
        name="fs.enospc",
        title="a file system was full",
        predicts="a write that failed with ENOSPC",
        rivals="fs.inodes_quota mem.shm_full fs.eacces",
        tag="free_space",
        fix=(
            "Free or add space where it ended, or move the directory; the largest writer there is "
            "named."
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
        title="a lock that somebody else holds refused it",
        predicts="a lock that was refused",
        rivals="fs.eacces fs.concurrent_writers db.lock_wait",
        tag="serialise",
        fix="Run the two one after the other, or open read-only; remove a stale lock after "
        "checking its "
        "owner.",
        needs="call_failed",
    ),
    _c(
        name="fs.eacces",
        title="it was not allowed to use a file",
        predicts="a file call that was denied",
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
        title="a file was replaced, cut or deleted under its reader",
        predicts="a change to a file that its reader had open",
        rivals="mem.shm_full crash.segv fs.read_early",
        tag="immutable_inputs",
        fix="Write new versions under new names, and delete old ones only when no reader is left.",
        needs="file_opened file_changed",
    ),
    _c(
        name="fs.stale_input",
        title="it read an older file instead of this run's",
        predicts="an input that this run did not write",
        rivals="fs.read_early fs.truncated none.not_visible",
        tag="freshness_gate",
        fix="Put the run's id or date into the path, and check that the input is of this run.",
        visible="P",
        needs="file_opened",
    ),
    _c(
        name="fs.netfs",
        title="a network file system did not answer",
        predicts="a wait on a network file system",
        rivals="fs.slow_io net.silent_peer",
        tag="check_file_server",
        fix="Check the file server and its network; mount soft or with a timeout.",
        needs="thread_wait",
    ),
    _c(
        name="fs.slow_io",
        title="storage stalled",
        predicts="threads that waited for storage without being interruptible",
        rivals="mem.thrash cpu.neighbour net.silent_peer",
        tag="check_storage",
        fix="Check the device or its I/O limit; nothing in the process itself was slow.",
        needs="process_sample",
    ),
    _c(
        name="net.pool",
        title="all connections of a pool or all slots of a server were taken",
        predicts="connections that were all held at once",
        rivals="net.silent_peer net.blackhole lim.emfile net.credential",
        tag="bigger_pool",
        fix=(
            "Make the pool at least as large as the number of its users, close what is read, or "
            "put a pooler in front."
        ),
        visible="P",
        needs="connection",
    ),
    _c(
        name="net.idle_drop",
        title="a connection that had been idle was dropped on the way",
        predicts="a long silence before the break",
        rivals="net.silent_peer net.reset_short net.blackhole",
        tag="keepalive",
        fix=(
            "Switch on TCP keep-alive below the idle limit of what is in between, or recycle idle "
            "connections."
        ),
        needs="connection",
    ),
    _c(
        name="net.dns",
        title="a name could not be resolved",
        predicts="a question to a name server without a good answer",
        rivals="net.blackhole net.backlog_refused",
        tag="fix_dns",
        fix="Check the name server (or the number of search domains); cache answers.",
        needs="name_query",
    ),
    _c(
        name="net.credential",
        title="a refresh of credentials held everything up",
        predicts="a call to a token service while everything else waits",
        rivals="net.pool net.silent_peer net.dns",
        tag="refresh_early",
        fix="Refresh credentials early and with a client, timeout and pool of their own.",
        visible="P",
        needs="connection",
    ),
    _c(
        name="net.blackhole",
        title="packets to a peer vanish",
        predicts="SYNs that nobody answered",
        rivals="net.backlog_refused net.dns net.silent_peer",
        tag="open_the_way",
        fix="Open the way (security group, route, firewall) and set a connect timeout.",
        needs="connection",
    ),
    _c(
        name="net.silent_peer",
        title="a peer took the request and did not answer",
        predicts="a request that was acknowledged and not answered",
        rivals="net.idle_drop db.lock_wait net.blackhole net.pool",
        tag="read_timeout",
        fix="Set a read timeout, and look at the peer: the network delivered.",
        needs="connection",
    ),
    _c(
        name="net.reset_short",
        title="a peer broke the connection in the middle",
        predicts="a reset by the peer",
        rivals="mem.child_oom net.idle_drop net.backlog_refused",
        tag="retry_and_check_peer",
        fix="Look at why the peer closed; retry idempotent requests, and check lengths.",
        needs="connection",
    ),
    _c(
        name="net.ports",
        title="no local port was left towards an endpoint",
        predicts="a connect that failed with EADDRNOTAVAIL",
        rivals="net.backlog_refused lim.emfile",
        tag="reuse_connections",
        fix="Keep connections alive and reuse them (session, pool).",
        needs="call_failed",
    ),
    _c(
        name="net.backlog_refused",
        title="nobody took the connection",
        predicts="a refusal, or a queue of connections that is full",
        rivals="net.blackhole net.dns",
        tag="readiness",
        fix="Start the server first and wait until it listens; enlarge its backlog.",
        needs="connection",
    ),
    _c(
        name="net.mtu",
        title="large packets vanish and small ones arrive",
        predicts="large sends that are never acknowledged while small ones were",
        rivals="net.silent_peer net.idle_drop net.blackhole",
        tag="lower_mtu",
        fix="Lower the MTU or let ICMP 'fragmentation needed' pass.",
        visible="P",
        needs="connection",
    ),
    _c(
        name="db.lock_wait",
        title="a database holds its answer back for a lock",
        predicts="a silent database while another client is in the middle of something",
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
        title="others took the CPU",
        predicts="a long wait for a CPU that others used",
        rivals="cpu.quota fs.slow_io data.skew",
        tag="isolate_cpu",
        fix="Move or limit the neighbour, or reserve CPUs for the task.",
        needs="process_sample neighbour",
    ),
    _c(
        name="hang.fork_lock",
        title="a child of a threaded process waits for a lock that nobody can release",
        predicts="a single-threaded fork of a threaded parent in an endless futex wait",
        rivals="hang.pipe_full net.silent_peer fs.slow_io",
        tag="spawn",
        fix="Start children with spawn or forkserver, not by fork from a process with threads.",
        needs="thread_wait",
    ),
    _c(
        name="hang.pipe_full",
        title="two processes wait for each other at a pipe",
        predicts="a wait on a pipe whose other end waits, too",
        rivals="hang.fork_lock net.silent_peer",
        tag="drain_pipes",
        fix=(
            "Read the child's output while it runs (communicate(), a thread for each pipe), or "
            "send it to a file."
        ),
        needs="thread_wait",
    ),
    _c(
        name="hang.gc_stall",
        title="garbage collection took all the time",
        predicts="a busy JVM that moves no byte",
        rivals="mem.app_heap cpu.quota kill.heartbeat",
        tag="raise_heap",
        fix="Raise the heap or cut the work; look at the collector's log.",
        visible="P",
        needs="process_sample",
    ),
    _c(
        name="crash.segv",
        title="native code crashed",
        predicts="a fault of its own",
        rivals="kill.supervisor crash.abort_ill fs.replaced mem.shm_full",
        tag="pin_library",
        fix="Pin or upgrade the native library named in the stack; report the frame.",
    ),
    _c(
        name="crash.abort_ill",
        title="it aborted itself, or used an instruction that this CPU lacks",
        predicts="a SIGABRT, SIGILL or SIGFPE of its own",
        rivals="kill.supervisor crash.segv mem.app_heap",
        tag="pin_library",
        fix="Read the assertion on stderr; pin or upgrade the library, or build it for this CPU.",
    ),
    _c(
        name="proc.exit_masked",
        title="a failure was not passed on, so the task looks fine",
        predicts="a failed child below a parent that said success",
        rivals="kill.swallowed none.healthy proc.sigpipe",
        tag="pass_failures_on",
        fix=(
            "Use `set -euo pipefail` (or check PIPESTATUS, the return code), so that the failure "
            "fails the task."
        ),
    ),
    _c(
        name="proc.sigpipe",
        title="a writer was ended by a reader that had enough",
        predicts="a SIGPIPE after its reader had left well",
        rivals="kill.supervisor crash.abort_ill",
        tag="tolerate_141",
        fix="Nothing is broken: tolerate 141, or let the reader read to the end.",
    ),
    _c(
        name="proc.interpreter",
        title="a program or its interpreter could not be started",
        predicts="an exec that failed",
        rivals="fs.eacces mem.cgroup_oom",
        tag="fix_path",
        fix="Install the program or mend PATH, the shebang line or the mode bit.",
        needs="call_failed",
    ),
    _c(
        name="proc.zombies",
        title="ended children were never reaped until no process could be made",
        predicts="many ended children of one parent",
        rivals="lim.pids",
        tag="reap_children",
        fix="Reap children (an init such as tini as pid 1, or wait()).",
    ),
    _c(
        name="proc.duplicate_run",
        title="the same work ran twice at once",
        predicts="a second tree that does the same",
        rivals="fs.concurrent_writers kill.timeout_orphan",
        tag="idempotent_or_locked",
        fix="Make redelivery later than the longest task, take a lock, write idempotently.",
        visible="P",
    ),
    _c(
        name="lim.emfile",
        title="no file descriptor was left",
        predicts="a call that failed with EMFILE",
        rivals="lim.pids net.ports fs.eacces",
        tag="close_descriptors",
        fix="Close what is opened, or raise the limit (ulimit -n).",
        needs="call_failed",
    ),
    _c(
        name="lim.pids",
        title="no process or thread could be made",
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
        fix="Keep clocks in step by slewing (chrony, NTP); compare no times of different hosts.",
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
    title="the cause is not in what the kernel sees",
    predicts="",
    rivals=(),
    fix=Fix(
        "look_elsewhere",
        "Look at the data, the program's logic and its own log, or at the remote service.",
    ),
    visible="N",
)
