"""The cause classes: what each one is, what it must have left behind, what it is taken for, and what mends it.

`predicts` completes "nothing shows …", for a rival of which no trace was found. `needs` are the kinds of events without which
that absence means nothing. `visible`: K, the kernel's facts prove it; P, they prove the mechanism, and the reason needs others.
"""

from __future__ import annotations

import msgspec


class Fix(msgspec.Struct, frozen=True):
    tag: str
    text: str


class CauseClass(msgspec.Struct, frozen=True):
    name: str
    title: str
    predicts: str
    rivals: tuple[str, ...]
    fix: Fix
    visible: str = "K"
    needs: tuple[str, ...] = ()


def _c(
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
        name, title, predicts, tuple(rivals.split()), Fix(tag, fix), visible, tuple(needs.split())
    )


_ALL = (
    _c("mem.cgroup_oom", "its own memory reached the limit of its cgroup", "an OOM kill in a memory cgroup by its own growth",
       "mem.cgroup_neighbour mem.userspace_killer kill.supervisor mem.app_heap mem.host_oom", "raise_limit_or_split",
       "Raise the memory limit (or the overhead share of it) for this step, or make the step smaller: split or repartition its "
       "input.", needs="oom_kill signal"),
    _c("mem.cgroup_neighbour", "somebody else's growth filled the memory that it shares", "another process that grew in its cgroup",
       "mem.cgroup_oom mem.host_oom kill.supervisor", "isolate_memory",
       "Give the two memory cgroups of their own, or limit the neighbour; the one that was killed needs no more than before.",
       needs="oom_kill neighbour"),
    _c("mem.child_oom", "a child was OOM-killed, and its parent tells something else", "an OOM kill of a child that the parent "
       "needed", "net.reset_short hang.pipe_full mem.app_heap mem.cgroup_oom", "raise_limit_or_split",
       "Give the child more memory or less to do; let the parent notice its death (ProcessPoolExecutor, memory.oom.group).",
       needs="oom_kill signal"),
    _c("mem.userspace_killer", "a process that guards memory killed it", "a SIGKILL by a process while its memory was growing",
       "mem.cgroup_oom kill.supervisor mem.host_oom", "tune_memory_killer",
       "Give the step more memory or less to do, or raise the threshold of the memory guard.", needs="signal process_sample"),
    _c("mem.app_heap", "its own heap limit was reached inside a healthy container", "an exit by its own decision with its memory "
       "at a plateau", "mem.cgroup_oom hang.gc_stall kill.supervisor", "raise_heap",
       "Raise the application's own heap limit (-Xmx, --max-old-space-size) or cut its work smaller; the container had room.", "P"),
    _c("mem.host_oom", "the whole host ran out of memory", "an OOM kill by the host, not by a cgroup",
       "mem.cgroup_oom mem.userspace_killer kill.supervisor", "host_memory",
       "Free or add memory on the host, and limit the process that took it.", needs="oom_kill"),
    _c("mem.rlimit", "a limit of its own address space or data refused it memory", "an mmap or brk that failed with ENOMEM",
       "mem.cgroup_oom mem.app_heap", "raise_rlimit", "Raise the process's own limit (ulimit -v, RLIMIT_AS) or need less memory.",
       needs="call_failed"),
    _c("mem.thrash", "it reads its own pages back again and again at the edge of its memory", "a storm of major faults at the "
       "limit", "fs.slow_io none.healthy mem.cgroup_oom", "memory_headroom",
       "Leave headroom above the working set: raise the limit or shrink what is mapped.", needs="process_sample"),
    _c("mem.shm_full", "shared memory or a tmpfs was full", "a SIGBUS or a full tmpfs", "mem.cgroup_oom fs.replaced fs.enospc",
       "grow_shm", "Make /dev/shm (shm_size, emptyDir medium Memory) larger, or keep the data elsewhere."),
    _c("kill.heartbeat", "its supervisor ended it because a heartbeat was late, though it was working", "a late answer to its "
       "supervisor, then a signal by it", "kill.supervisor kill.drain kill.timeout_orphan mem.cgroup_oom", "heartbeat_threshold",
       "Make the heartbeat's threshold at least three times its interval, and mend what made the answer late.", "P"),
    _c("kill.supervisor", "another process ended it by a signal", "a signal from another process",
       "mem.cgroup_oom kill.drain kill.timeout_orphan kill.heartbeat mem.userspace_killer", "ask_the_sender",
       "Ask the sender of the signal; the process itself did not fail, and more memory would not help."),
    _c("kill.drain", "its whole group was told to go, and what was left was killed", "one sender that signals the whole group",
       "kill.supervisor kill.heartbeat kill.probe mem.cgroup_oom", "longer_grace",
       "Make the grace period longer than the task, or keep the task from being drained (disruption budget, own session).", "P"),
    _c("kill.probe", "a health probe that is too slow had it restarted", "probes that were ended at the same age, again and again",
       "kill.drain kill.supervisor kill.heartbeat", "cheaper_probe",
       "Make the probe cheaper or its timeout longer: the process itself was working.", "P"),
    _c("kill.swallowed", "it was told to end, did, and reported success", "a handled signal, then status 0",
       "kill.supervisor proc.exit_masked none.healthy", "fail_on_signal",
       "Let the handler end with a failure (raise, exit 143) so that the task is not marked a success."),
    _c("kill.timeout_orphan", "a time limit ended it", "a timer or a timeout command that ended it",
       "kill.supervisor kill.heartbeat kill.drain mem.cgroup_oom", "raise_timeout",
       "Raise the time limit or make the step faster, and end the whole process group with it."),
    _c("fs.truncated", "a writer was ended in the middle of a file, and the next step took what was there", "a file left open by a "
       "writer that was ended", "fs.read_early fs.enospc fs.stale_input none.not_visible", "atomic_write",
       "Write to a temporary name, fsync, then rename; gate the reader on the task's success or on a marker.",
       needs="open_file file_opened signal"),
    _c("fs.read_early", "a file was read while it was still being written", "a reader that was done before the writer",
       "fs.truncated fs.stale_input fs.concurrent_writers", "wait_for_marker",
       "Let the reader wait for the writer's end (dependency, rename into place, marker file).", needs="file_opened"),
    _c("fs.enospc", "a file system was full", "a write that failed with ENOSPC", "fs.inodes_quota mem.shm_full fs.eacces",
       "free_space", "Free or add space where it ended, or move the directory; the largest writer there is named.",
       needs="call_failed"),
    _c("fs.inodes_quota", "a file system had no inodes or no quota left", "a create that failed while there was room",
       "fs.enospc fs.eacces", "free_inodes", "Delete small files or raise the quota: the space itself is not used up.",
       needs="call_failed"),
    _c("fs.lock", "a lock that somebody else holds refused it", "a lock that was refused", "fs.eacces fs.concurrent_writers "
       "db.lock_wait", "serialise", "Run the two one after the other, or open read-only; remove a stale lock after checking its "
       "owner.", needs="call_failed"),
    _c("fs.eacces", "it was not allowed to use a file", "a file call that was denied", "fs.enospc proc.interpreter fs.lock",
       "fix_ownership", "Set the owner or the mode of the path (or mount it writable) for the user that the task runs as.",
       needs="call_failed"),
    _c("fs.concurrent_writers", "two writers had one file open at the same time", "two writers of one file at the same time",
       "fs.read_early proc.duplicate_run fs.truncated", "unique_path",
       "Give each writer a path of its own, or run them one after the other.", needs="file_opened"),
    _c("fs.replaced", "a file was replaced, cut or deleted under its reader", "a change to a file that its reader had open",
       "mem.shm_full crash.segv fs.read_early", "immutable_inputs",
       "Write new versions under new names, and delete old ones only when no reader is left.", needs="file_opened file_changed"),
    _c("fs.stale_input", "it read an older file instead of this run's", "an input that this run did not write",
       "fs.read_early fs.truncated none.not_visible", "freshness_gate",
       "Put the run's id or date into the path, and check that the input is of this run.", "P", needs="file_opened"),
    _c("fs.netfs", "a network file system did not answer", "a wait on a network file system", "fs.slow_io net.silent_peer",
       "check_file_server", "Check the file server and its network; mount soft or with a timeout.", needs="thread_wait"),
    _c("fs.slow_io", "storage stalled", "threads that waited for storage without being interruptible",
       "mem.thrash cpu.neighbour net.silent_peer", "check_storage",
       "Check the device or its I/O limit; nothing in the process itself was slow.", needs="process_sample"),
    _c("net.pool", "all connections of a pool or all slots of a server were taken", "connections that were all held at once",
       "net.silent_peer net.blackhole lim.emfile net.credential", "bigger_pool",
       "Make the pool at least as large as the number of its users, close what is read, or put a pooler in front.", "P",
       needs="connection"),
    _c("net.idle_drop", "a connection that had been idle was dropped on the way", "a long silence before the break",
       "net.silent_peer net.reset_short net.blackhole", "keepalive",
       "Switch on TCP keep-alive below the idle limit of what is in between, or recycle idle connections.", needs="connection"),
    _c("net.dns", "a name could not be resolved", "a question to a name server without a good answer", "net.blackhole "
       "net.backlog_refused", "fix_dns", "Check the name server (or the number of search domains); cache answers.",
       needs="name_query"),
    _c("net.credential", "a refresh of credentials held everything up", "a call to a token service while everything else waits",
       "net.pool net.silent_peer net.dns", "refresh_early",
       "Refresh credentials early and with a client, timeout and pool of their own.", "P", needs="connection"),
    _c("net.blackhole", "packets to a peer vanish", "SYNs that nobody answered", "net.backlog_refused net.dns net.silent_peer",
       "open_the_way", "Open the way (security group, route, firewall) and set a connect timeout.", needs="connection"),
    _c("net.silent_peer", "a peer took the request and did not answer", "a request that was acknowledged and not answered",
       "net.idle_drop db.lock_wait net.blackhole net.pool", "read_timeout",
       "Set a read timeout, and look at the peer: the network delivered.", needs="connection"),
    _c("net.reset_short", "a peer broke the connection in the middle", "a reset by the peer",
       "mem.child_oom net.idle_drop net.backlog_refused", "retry_and_check_peer",
       "Look at why the peer closed; retry idempotent requests, and check lengths.", needs="connection"),
    _c("net.ports", "no local port was left towards an endpoint", "a connect that failed with EADDRNOTAVAIL",
       "net.backlog_refused lim.emfile", "reuse_connections", "Keep connections alive and reuse them (session, pool).",
       needs="call_failed"),
    _c("net.backlog_refused", "nobody took the connection", "a refusal, or a queue of connections that is full",
       "net.blackhole net.dns", "readiness", "Start the server first and wait until it listens; enlarge its backlog.",
       needs="connection"),
    _c("net.mtu", "large packets vanish and small ones arrive", "large sends that are never acknowledged while small ones were",
       "net.silent_peer net.idle_drop net.blackhole", "lower_mtu", "Lower the MTU or let ICMP 'fragmentation needed' pass.", "P",
       needs="connection"),
    _c("db.lock_wait", "a database holds its answer back for a lock", "a silent database while another client is in the middle of "
       "something", "net.silent_peer net.pool fs.lock", "end_the_holder",
       "End or commit the transaction of the other client; set lock_timeout.", "P", needs="connection"),
    _c("cpu.quota", "its CPU quota stopped it", "periods in which its cgroup was throttled", "cpu.neighbour fs.slow_io "
       "net.silent_peer", "match_threads_to_quota", "Set the number of threads to the quota, or raise the quota.",
       needs="process_sample"),
    _c("cpu.neighbour", "others took the CPU", "a long wait for a CPU that others used", "cpu.quota fs.slow_io data.skew",
       "isolate_cpu", "Move or limit the neighbour, or reserve CPUs for the task.", needs="process_sample neighbour"),
    _c("hang.fork_lock", "a child of a threaded process waits for a lock that nobody can release", "a single-threaded fork of a "
       "threaded parent in an endless futex wait", "hang.pipe_full net.silent_peer fs.slow_io", "spawn",
       "Start children with spawn or forkserver, not by fork from a process with threads.", needs="thread_wait"),
    _c("hang.pipe_full", "two processes wait for each other at a pipe", "a wait on a pipe whose other end waits, too",
       "hang.fork_lock net.silent_peer", "drain_pipes",
       "Read the child's output while it runs (communicate(), a thread for each pipe), or send it to a file.", needs="thread_wait"),
    _c("hang.gc_stall", "garbage collection took all the time", "a busy JVM that moves no byte", "mem.app_heap cpu.quota "
       "kill.heartbeat", "raise_heap", "Raise the heap or cut the work; look at the collector's log.", "P", needs="process_sample"),
    _c("crash.segv", "native code crashed", "a fault of its own", "kill.supervisor crash.abort_ill fs.replaced mem.shm_full",
       "pin_library", "Pin or upgrade the native library named in the stack; report the frame."),
    _c("crash.abort_ill", "it aborted itself, or used an instruction that this CPU lacks", "a SIGABRT, SIGILL or SIGFPE of its own",
       "kill.supervisor crash.segv mem.app_heap", "pin_library",
       "Read the assertion on stderr; pin or upgrade the library, or build it for this CPU."),
    _c("proc.exit_masked", "a failure was not passed on, so the task looks fine", "a failed child below a parent that said success",
       "kill.swallowed none.healthy proc.sigpipe", "pass_failures_on",
       "Use `set -euo pipefail` (or check PIPESTATUS, the return code), so that the failure fails the task."),
    _c("proc.sigpipe", "a writer was ended by a reader that had enough", "a SIGPIPE after its reader had left well",
       "kill.supervisor crash.abort_ill", "tolerate_141",
       "Nothing is broken: tolerate 141, or let the reader read to the end."),
    _c("proc.interpreter", "a program or its interpreter could not be started", "an exec that failed", "fs.eacces mem.cgroup_oom",
       "fix_path", "Install the program or mend PATH, the shebang line or the mode bit.", needs="call_failed"),
    _c("proc.zombies", "ended children were never reaped until no process could be made", "many ended children of one parent",
       "lim.pids", "reap_children", "Reap children (an init such as tini as pid 1, or wait())."),
    _c("proc.duplicate_run", "the same work ran twice at once", "a second tree that does the same",
       "fs.concurrent_writers kill.timeout_orphan", "idempotent_or_locked",
       "Make redelivery later than the longest task, take a lock, write idempotently.", "P"),
    _c("lim.emfile", "no file descriptor was left", "a call that failed with EMFILE", "lim.pids net.ports fs.eacces",
       "close_descriptors", "Close what is opened, or raise the limit (ulimit -n).", needs="call_failed"),
    _c("lim.pids", "no process or thread could be made", "a clone that failed with EAGAIN", "proc.zombies lim.emfile mem.rlimit",
       "raise_pids", "Raise the pids limit, or start fewer processes and threads.", needs="call_failed"),
    _c("data.skew", "one part of the data was far larger than the others", "one worker with several times the bytes of its siblings",
       "cpu.neighbour fs.slow_io cpu.quota", "split_partition", "Split or salt the large part (AQE skew join, smaller files).", "P"),
    _c("time.clock", "the wall clock was moved", "a step of the wall clock", "none.not_visible", "ntp",
       "Keep clocks in step by slewing (chrony, NTP); compare no times of different hosts.", "P"),
)  # fmt: skip
CLASSES = {c.name: c for c in _ALL}
HEALTHY = CauseClass("none.healthy", "nothing went wrong", "", (), Fix("none", "Nothing to do."))
NOT_VISIBLE = CauseClass(
    "none.not_visible", "the cause is not in what the kernel sees", "", (),
    Fix("look_elsewhere", "Look at the data, the program's logic and its own log, or at the remote service."), "N",
)  # fmt: skip
