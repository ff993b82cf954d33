"""The description of each key of kwitness.toml.

Keys and defaults come from the types (tools/generate_docs.py), which refuses a key without a line
here.
"""

KEYS = {
    "kernel.lifecycle_ring_bytes": (
        "ring for exec, fork, exit, signals, OOM kills of watched processes; a power of two"
    ),
    "kernel.unwatched_ring_bytes": (
        "the same for all other processes, so that they cannot displace events of a task; a power "
        "of two"
    ),
    "kernel.bulk_ring_bytes": "ring for files, sockets and failing calls; a power of two",
    "kernel.drain_interval_seconds": (
        "how long an event may wait in its ring; urgent events (failures, OOM kills) do not wait"
    ),
    "kernel.sample_interval_seconds": (
        "how often watched processes, their sockets and their neighbours are sampled"
    ),
    "kernel.batch_records": "the most records that are read from a ring before other tasks run",
    "kernel.source": (
        '`"ebpf"`, `"netlink"` (process connector and polling), or auto: netlink if eBPF is '
        "refused. "
        "With netlink and `privileges.drop` the environments of other users' processes are not "
        "visible ([usage.md](usage.md))"
    ),
    "kernel.syscall_hook": (
        'how system calls are hooked: `"fexit"` (a program per call) or `"sys_exit"` (one for '
        "all); auto: fexit if the kernel permits it"
    ),
    "kernel.limits.files_per_process": (
        "files reported by name, read and written files separately; the others are counted"
    ),
    "kernel.limits.changes_per_process": (
        "renames, unlinks, … reported by name; the others are counted"
    ),
    "kernel.limits.noise_prefixes": (
        "files below one of these that are only read count as code: counted, not named. A prefix "
        "with `!` also applies to written files. The paths that a recogniser declares are added"
    ),
    "kernel.limits.noise_suffixes": (
        "the same by the file's last extension with its dot, up to 15 bytes"
    ),
    "kernel.limits.noise_components": "the same by the name of a directory, up to 15 bytes",
    "core.stall_seconds": "report a peer that has not answered for this many seconds",
    "core.hang_seconds": "report a task with no activity for this many seconds",
    "core.process_limit": (
        "the most processes in memory; beyond it the oldest ended process is evicted and counted"
    ),
    "core.linger_seconds": "how long an ended process is kept for late events",
    "core.task_grace_seconds": "an attempt without a living process ends after this time",
    "core.run_grace_seconds": "a run without an open attempt ends after this time",
    "core.heartbeat_seconds": "the interval of `pipeline.task.heartbeat` for long attempts",
    "core.orchestrator": (
        '`"elsewhere"` on hosts that run processes of a task whose orchestrator is observed on '
        "another host: ids are the same everywhere, so that all of them join in one trace, and "
        "the spans of runs and tasks are sent once, by that other host"
    ),
    "core.redaction": (
        '`"scrub"` removes secrets from command lines, paths, titles and identifiers, `"strip"` '
        'keeps the command only, `"off"` keeps all'
    ),
    "core.include_argv": "send `process.command_args` and `process.working_directory`",
    "core.exit_events": "emit a `process.exit` record for every exit, not only for failures",
    "core.service_name": "as `OTEL_SERVICE_NAME`, which overrides it",
    "core.resource_attributes": (
        'as `OTEL_RESOURCE_ATTRIBUTES`, which overrides it; written as `[["k", "v"], …]`'
    ),
    "core.value_length_limit": "as `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`",
    "admin.host": "the address of the admin endpoint; loopback only",
    "admin.port": "the port of the admin endpoint; 0 disables it",
    "admin.token_file": (
        "file (0600) with the token that `/metrics`, `/tree`, `/incidents` and `/alerts` ask for; "
        "default: `admin.token` of the state directory, created at the first start. Without "
        "either, the incident paths are closed"
    ),
    "state.directory": (
        "the directory for files that are kept between starts: `history.db`, `incidents/` (the "
        "last 500 reports), `rejected/` (samples of what a Collector refused), `admin.token`, "
        "`last-life`. kwitness makes it, or it is an empty directory of mode 0700 that belongs to "
        "the user the service runs as. Another directory is refused and not touched, also one "
        "behind a symbolic link. Without one, incidents are kept in memory (256) and history "
        "begins anew with each start"
    ),
    "privileges.drop": "after attaching, drop all capabilities (and root)",
    "privileges.user": (
        "the user to become when started as root. Empty: a user of its own, because processes of "
        "one user may signal each other. This is the account `kwitness`, or without one, a user "
        "from 60578 to 61183 that has no account and no process on this host. The owner of "
        "`state.directory` stays the user, if it is one of these or `nobody`"
    ),
    "privileges.helper": (
        '`"auto"`: a helper process attaches the system-call hooks only if the kernel needs '
        'privileges for that (before Linux 5.19); `"always"`: always, and the service itself may '
        "not attach anything after its start"
    ),
    "privileges.helper_user": (
        "the user of the helper that attaches later, when started as root. Empty: a free one from "
        "60578 to 61183, which has no account and no process on this host"
    ),
    "privileges.confine": (
        '`"auto"`: after the start the service, its helper and the counting process may make only '
        "the system calls that they need (seccomp), and reach only the files that they need "
        '(Landlock), as far as the kernel supports them; `"off"`: neither'
    ),
    "privileges.readable": (
        "more directories that the service may read after its start, for the names of functions "
        "in crashed programs. It may always read programs and libraries of the system, `/etc`, "
        "`/proc`, `/sys`, Python's own"
    ),
    "shutdown_seconds": "how long the flush after SIGTERM may take",
    "kernel.environment": (
        "more environment variables that are read; a process that has one is watched from its "
        "exec on"
    ),
    "core.include_addresses": (
        "send `host.ip` with every resource: it links the two ends of a connection across hosts "
        "([scale.md](scale.md))"
    ),
    "core.only_commands": "report only processes that `kwitness run` started; `run` sets it",
    "kernel.container_names": (
        "the directory of the kubelet's links, which hold the names of pods and containers; no "
        "file in it is opened. Empty: not read"
    ),
    "run.status": (
        "`run` and `record -- CMD`: shows the status of the command in the title of the terminal; "
        "`--no-status` does the same as `false`"
    ),
    "run.status_line": (
        "shows the status in the last row of the terminal instead; `--status-line` does the same "
        "as `true`. Read [its limits](run.md#the-status-in-the-terminals-last-row) first"
    ),
    "insights.grpc": (
        "`serve --mode insights`: the address that receives OTLP by gRPC; empty disables it"
    ),
    "insights.http": "the same for OTLP by HTTP (protobuf)",
    "insights.certificate": "PEM chain; with it, both addresses use TLS",
    "insights.key": "the private key of the certificate",
    "insights.client_ca": "PEM: senders must present a certificate of this CA",
}
