"""The BPF programs, the purpose of each, and whether it is attached: the coverage report."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec

from receiver.errors import NamespaceError, PrivilegeError, UnavailableError
from receiver.events import EventKind, Existing
from receiver.kernel.decode import decode, split
from receiver.kernel.hooks import ALTERNATIVES, DOORS, HOOKS, Hook
from receiver.kernel.libbpf import Library, Object
from receiver.text.redact import Redactor

OBJECT = Path(__file__).with_name("kwitness.bpf.o")
BTF = Path("/sys/kernel/btf/vmlinux")
LOCKDOWN = Path("/sys/kernel/security/lockdown")
PID_NAMESPACE = (
    0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h: the initial namespace on every kernel
)
CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 21, 38, 39
ENV_RULE_BYTES = 64  # as in bpf/events.h
_EXACT, _PREFIX, _BINDS = 1, 2, 256
NOISE_SUFFIX_BYTES, NOISE_PREFIX_BYTES, TELLING_PACKAGE_BYTES = 16, 64, 32
MARKS_PER_ENTRY = 64
PID_MAX_LIMIT = 4_194_304


# No hook sees these on any kernel. A report says so for the processes and files concerned.
BLIND_SPOTS = (
    "bytes read or written through a mapping (the file is marked as mapped)",
    "reads and writes through io_uring (its use is counted per process)",
    "system calls through the 32-bit entry (counted)",
)

# Identifiers of runs and tasks. A name that ends in `_` allows all names that begin with it, except
# names that look like a secret.
ENVIRONMENT = (
    "AIRFLOW_CTX_",
    "TRACEPARENT",
    "TRACESTATE",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OPENLINEAGE_NAMESPACE",
    "OPENLINEAGE_PARENT_ID",
    "OPENLINEAGE_ROOT_PARENT_ID",
    "PREFECT__FLOW_RUN_ID",
    "PREFECT__FLOW_ID",
    "PREFECT__FLOW_NAME",
    "PREFECT__DEPLOYMENT_NAME",
    "PREFECT__WORKER_NAME",
    "PREFECT_FLOW_RUN_ID",
    "MAKELEVEL",
    "PREFECT_DEPLOYMENT_ID",
    "PREFECT_WORK_POOL_NAME",
    "DAGSTER_RUN_ID",
    "DAGSTER_RUN_JOB_NAME",
    "DAGSTER_RUN_STEP_KEY",
    "DAGSTER_CODE_LOCATION_NAME",
    "DBT_CLOUD_PROJECT_ID",
    "DBT_CLOUD_JOB_ID",
    "DBT_CLOUD_RUN_ID",
    "DBT_CLOUD_RUN_REASON_CATEGORY",
    "DBT_CLOUD_ENVIRONMENT_ID",
    "DBT_INVOCATION_ID",
    "SPARK_APPLICATION_ID",
    "SPARK_EXECUTOR_ID",
    "SPARK_EXECUTOR_POD_NAME",
    "SPARK_DRIVER_POD_NAME",
    "SLURM_JOB_ID",
    "SLURM_JOBID",
    "SLURM_JOB_NAME",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_STEP_ID",
    "SLURM_PROCID",
    "SLURM_CLUSTER_NAME",
    "NXF_TASK_WORKDIR",
    "SNAKEMAKE_PROFILE",
    "LUIGI_TASK_ID",
    "PAPERMILL_EXECUTION_ID",
    "ARGO_WORKFLOW_NAME",
    "ARGO_NODE_ID",
    "AWS_BATCH_JOB_ID",
    "AWS_BATCH_JOB_ATTEMPT",
    "KUBERNETES_NAMESPACE",
    "HOSTNAME",
    "POD_NAME",
    "POD_NAMESPACE",
    "POD_UID",
)

# The variables of these that identify a task: the system calls of its process are watched from its
# exec on.
BINDING = ("AIRFLOW_CTX_TASK_ID", "PREFECT__FLOW_RUN_ID")

# Files below these prefixes, or with these suffixes, are counted and not named when they are only
# read. A prefix with `!` is ignored for writes, too.
NOISE_PREFIXES = (
    "/usr/",
    "/lib/",
    "/lib32/",
    "/lib64/",
    "/bin/",
    "/sbin/",
    "/etc/",
    "/boot/",
    "/nix/store/",
    "/snap/",
    "/var/lib/dpkg/",
    "/var/cache/",
    "!/tmp/hsperfdata_",
    "/opt/java/",
    "/opt/conda/",
    "/opt/spark/jars/",
)
NOISE_SUFFIXES = (
    ".py",
    ".pyc",
    ".pyi",
    ".pyd",
    ".pth",
    ".so",
    ".jar",
    ".class",
    ".jmod",
    ".rb",
    ".pm",
    ".pl",
    ".mo",
    ".typed",
)


NOISE_COMPONENTS = (
    "site-packages",
    "dist-packages",
    "node_modules",
    "libexec",
    ".pyenv",
    ".rbenv",
    ".nvm",
    ".cargo",
    ".ivy2",
    ".m2",
    ".git",
    ".venv",
)


# Packages whose import identifies a process: the first of their files is named although it is code.
# The others belong to orchestrators: the owner of these files helps to prove which process is an
# orchestrator.
TELLING_PACKAGES = (
    "great_expectations",
    "airflow",
    "executors",
    "jobs",
    "execution_time",
    "dag_processing",
)


class KernelLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the kernel half names per process, and what it only counts."""

    files_per_process: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = 256
    changes_per_process: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = 256
    noise_prefixes: tuple[str, ...] = NOISE_PREFIXES
    noise_suffixes: tuple[str, ...] = NOISE_SUFFIXES
    noise_components: tuple[str, ...] = (
        NOISE_COMPONENTS  # names of directories, at most 15 bytes long
    )


class Coverage(msgspec.Struct, frozen=True):
    """The state of one hook. `why` is empty when it is attached."""

    program: str
    hook: str
    attached: bool
    why: str
    blind: str


def own_pid_namespace() -> int:
    """Inode of this pid namespace (pid_namespaces(7)).

    0 for the host's own, in which every process is visible.
    """
    try:
        inode = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
    return 0 if inode == PID_NAMESPACE else inode


def preflight() -> None:
    """Finds the reason for a refusal before libbpf does, whose error messages help less."""
    if not OBJECT.exists():
        raise UnavailableError(
            f"{OBJECT.name} is not built: run `make bpf` (needs clang and bpftool)"
        )
    if not BTF.exists():
        raise UnavailableError(
            "this kernel has no BTF (/sys/kernel/btf/vmlinux): it must be built with "
            "CONFIG_DEBUG_INFO_BTF=y",
            "btf",
        )
    if "[confidentiality]" in _read(LOCKDOWN):
        raise UnavailableError(
            "kernel lockdown is in confidentiality mode, which forbids eBPF to read memory: boot "
            "with lockdown=integrity",
            "lockdown",
        )
    status = _read(Path("/proc/self/status"))
    if not status:
        raise UnavailableError(
            "cannot read /proc/self/status: mount /proc, or raise the limit of open files (ulimit -n)"
        )
    if missing := missing_capabilities(status):
        raise PrivilegeError(
            f"{' and '.join(missing)} missing: run as root, or grant with `setpriv --ambient-caps "
            "+bpf,+perfmon`",
            "capabilities",
        )


def effective_capabilities(status: str) -> int:
    """The effective set of a /proc/PID/status text, as bits."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.M)
    return int(found[1], 16) if found else 0


def missing_capabilities(status: str) -> list[str]:
    """Names of the capabilities that eBPF lacks. CAP_SYS_ADMIN includes both."""
    effective = effective_capabilities(status)
    if effective >> CAP_SYS_ADMIN & 1:
        return []
    return [
        name
        for name, bit in (("CAP_BPF", CAP_BPF), ("CAP_PERFMON", CAP_PERFMON))
        if not effective >> bit & 1
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _mismatch(hook: Hook, arguments: int | None) -> str:
    if hook.iterator or hook.door == "fexit":
        return ""
    if arguments is None:
        return f"this kernel has no tracepoint {hook.tracepoint}"
    if hook.arguments and arguments != hook.arguments:
        return f"{hook.tracepoint} has {arguments} arguments here, not {hook.arguments}"
    return ""


def _pid_max() -> int:
    """pid_max at this moment. A pid above it (the limit was raised later) is not watched."""
    return min(int(_read(Path("/proc/sys/kernel/pid_max")) or PID_MAX_LIMIT), PID_MAX_LIMIT)


class Probes:
    """The loaded object, its links, and the coverage report."""

    def __init__(
        self,
        *,
        lifecycle_bytes: int,
        bulk_bytes: int,
        unwatched_bytes: int = 1 << 16,
        environment: Iterable[str] = ENVIRONMENT,
        limits: KernelLimits | None = None,
        door: str = "auto",
        binding: Iterable[str] = (),
        launched: bool = False,
    ) -> None:
        """`binding`: the user's own variables that identify a task.

        `launched`: the parent is the launcher of `kwitness run`, which belongs to kwitness and
        appears in no record.

        `door`: fexit or sys_exit. auto: the cheaper one that this kernel has.
        """
        preflight()
        self.limits = limits or KernelLimits()
        self.library = Library()
        self._refused: dict[str, str] = {}
        arguments = self.library.tracepoint_arguments(
            {hook.tracepoint for hook in HOOKS if hook.tracepoint and not hook.iterator}
        )
        self.door = (
            door
            if door != "auto"
            else ("fexit" if self.library.takes_fexit("__x64_sys_socket") else "sys_exit")
        )
        for hook in HOOKS:
            if hook.door and hook.door != self.door:
                self._refused[hook.program] = f"{self.door} is used instead"
            elif why := _mismatch(hook, arguments.get(hook.tracepoint)):
                self._refused[hook.program] = why
        self.namespace = own_pid_namespace()
        self.own_tgid, parent_tgid = (
            self._learn_own_tgids() if self.namespace else (os.getpid(), os.getppid())
        )
        self.launcher_tgid = parent_tgid if launched else 0
        self.object = self._load(
            {
                "lifecycle_ring": lifecycle_bytes,
                "unwatched_ring": unwatched_bytes,
                "bulk_ring": bulk_bytes,
            }
        )
        self._loaded = [hook for hook in HOOKS if hook.program not in self._refused]
        self._allow(environment, (*BINDING, *binding))
        self._name_noise()
        self._attached: set[str] = set()
        self.calls_attached = False
        self._unattachable = ""  # why the last attempt to hook system calls failed

    def _learn_own_tgids(self) -> tuple[int, int]:
        """The pids of this process and its parent as the kernel half knows them.

        In a pid namespace only the kernel knows these.
        """
        with contextlib.closing(Object(self.library, OBJECT)) as probe:
            for hook in HOOKS:
                if hook.program != "on_existing":
                    probe.skip(hook.program)
            try:
                probe.load()
                probe.open_iterator("on_existing", None)
            except OSError as failure:
                raise NamespaceError(
                    "this is not the host's pid namespace, and the kernel did not give this "
                    f"process's own pid ({failure.strerror}): use --pid=host",
                    "pid_namespace",
                ) from failure
            for raw in split(probe.iterate("on_existing")):
                event = decode(raw, Redactor("strip"))
                if isinstance(event, Existing) and (
                    event.pid_namespace_inode,
                    event.pid_namespace_pid,
                ) == (
                    self.namespace,
                    os.getpid(),
                ):
                    return event.process.tgid, event.parent.tgid
        raise NamespaceError(
            "this is not the host's pid namespace, and this process was not found in the host's: "
            "use --pid=host",
            "pid_namespace",
        )

    def _load(self, rings: dict[str, int]) -> Object:
        """Loads every program that the verifier accepts.

        A refused program is logged and disabled, and the rest is tried again.
        """
        for _ in HOOKS:
            candidate = Object(self.library, OBJECT)
            candidate.set_constant("self_tgid", self.own_tgid)
            candidate.set_constant("launcher_tgid", self.launcher_tgid)
            candidate.set_constant("page_bytes", os.sysconf("SC_PAGE_SIZE"))
            candidate.set_constant("files_per_process", self.limits.files_per_process)
            candidate.set_constant("changes_per_process", self.limits.changes_per_process)
            candidate.set_size("watch_marks", _pid_max() // MARKS_PER_ENTRY + 1)
            for ring, size in rings.items():
                candidate.set_size(ring, size)
            for program in self._refused:
                candidate.skip(program)
            self.library.log.clear()
            try:
                candidate.load()
            except OSError as failure:
                candidate.close()
                self._note_refusal(failure)
                continue
            return candidate
        raise UnavailableError(
            "the kernel refuses every program: " + "; ".join(self._refused.values()), "refused"
        )

    def _note_refusal(self, failure: OSError) -> None:
        log = list(self.library.log)
        names = re.findall(
            r"prog '(\w+)': (?:failed|BPF program load failed|-- BEGIN)", "\n".join(log)
        )
        if not names or names[-1] in self._refused:
            raise UnavailableError(
                f"the kernel refuses the BPF object: {failure.strerror}; "
                f"{log[-1] if log else 'no log'}",
                "refused",
            )
        detail = [
            line for line in log if line and not line.startswith(("libbpf:", "processed", "--"))
        ]
        self._refused[names[-1]] = (
            f"the verifier refuses it: {detail[-1] if detail else failure.strerror}"[:200]
        )
        hook = next(h for h in HOOKS if h.program == names[-1])
        # all or none: with half of the hooks, calls would be missed silently
        if hook.door == "fexit":
            self.door = "sys_exit"
            self._refused |= {
                h.program: self._refused[names[-1]] for h in HOOKS if h.door == "fexit"
            }
            self._refused.pop("on_call", None)
        if hook.required:
            raise UnavailableError(
                f"{hook.program} ({hook.tracepoint}): {self._refused[names[-1]]}"
            )

    def _allow(self, environment: Iterable[str], binding: tuple[str, ...]) -> None:
        """Fills the allow list before any program runs."""
        # the trie takes the longest match and the list the first one, so binding names come first
        for index, name in enumerate((*binding, *environment)):
            raw = name.encode() if name.endswith("_") else name.encode() + b"="
            key = struct.pack(f"<I{ENV_RULE_BYTES}s", len(raw) * 8, raw)
            kind = struct.pack(
                "<I",
                (_PREFIX if name.endswith("_") else _EXACT) | (_BINDS if name in binding else 0),
            )
            self.object.update("env_rules", key, kind)
            self.object.update("env_rule_list", struct.pack("<I", index), key + kind)

    def _name_noise(self) -> None:
        for suffix in self.limits.noise_suffixes:
            self.object.update(
                "noise_suffixes",
                suffix.encode().ljust(NOISE_SUFFIX_BYTES, b"\0"),
                struct.pack("<I", 1),
            )
        for component in self.limits.noise_components:
            self.object.update(
                "noise_components",
                component.encode().ljust(NOISE_SUFFIX_BYTES, b"\0"),
                struct.pack("<I", 1),
            )
        for package in TELLING_PACKAGES:
            self.object.update(
                "telling_packages",
                package.encode().ljust(TELLING_PACKAGE_BYTES, b"\0"),
                struct.pack("<I", 1),
            )
        for prefix in self.limits.noise_prefixes:
            raw = prefix.removeprefix("!").encode()
            key = struct.pack(f"<I{NOISE_PREFIX_BYTES}s", len(raw) * 8, raw)
            self.object.update(
                "noise_prefixes", key, struct.pack("<I", 3 if prefix.startswith("!") else 1)
            )

    def attach(self) -> None:
        for hook in HOOKS:
            if hook.program in self._refused or hook.on_demand:
                continue
            self._attach(hook)
        if not self._attached & ALTERNATIVES.keys():
            raise UnavailableError(
                f"cannot attach to sched_process_exit: {self._refused['on_exit']}"
            )

    def _attach(self, hook: Hook) -> None:
        try:
            if hook.iterator:
                self.object.open_iterator(hook.program, hook.over or None)
            else:
                self.object.attach(hook.program)
        except OSError as failure:
            self._refused[hook.program] = failure.strerror or "refused"
            if hook.required:
                raise UnavailableError(
                    f"cannot attach {hook.program} to {hook.tracepoint}: {failure.strerror}"
                ) from failure
        else:
            self._attached.add(hook.program)

    def attach_calls(self) -> None:
        """Hooks system calls: from now on every system call of the host runs the program.

        Raises OSError, with no call hooked.
        """
        for hook in self._on_demand():
            if hook.program in self._attached:
                continue
            try:
                self.object.attach(hook.program)
            except OSError as failure:
                if not hook.door:
                    self._refused[hook.program] = failure.strerror or "refused"
                    continue
                self.detach_calls()  # with half of the hooks, calls would be missed silently
                self._unattachable = failure.strerror or "refused"
                raise
            self._attached.add(hook.program)
        self.calls_attached, self._unattachable = True, ""

    def try_calls(self) -> None:
        """Whether `attach_calls` may succeed: it attaches and detaches one hook. Raises OSError."""
        hook = next((h for h in self._on_demand() if h.door), None)
        if hook is not None and hook.program not in self._attached:
            self.object.attach(hook.program)
            self.object.detach(hook.program)

    def _on_demand(self) -> list[Hook]:
        return [hook for hook in HOOKS if hook.on_demand and hook.program not in self._refused]

    def detach_calls(self) -> None:
        for hook in HOOKS:
            if hook.on_demand and hook.program in self._attached:
                self.object.detach(hook.program)
                self._attached.discard(hook.program)
        self.calls_attached = False

    def coverage(self) -> list[Coverage]:
        """A hook that is attached on demand counts as attached."""
        report = []
        for hook in HOOKS:
            if ALTERNATIVES.get(hook.program) in self._attached or (
                hook.door and hook.door != self.door
            ):
                continue
            if hook.door == "fexit" and hook.program not in self._refused:
                continue  # reported as one entry, below
            name = f"iter/{hook.over or 'task'}" if hook.iterator else f"tp_btf/{hook.tracepoint}"
            why = self._refused.get(hook.program) or (self._unattachable if hook.door else "")
            attached = hook.program in self._attached or (hook.on_demand and not why)
            report.append(Coverage(hook.program, name, attached, why, hook.blind))
        if self.door == "fexit":
            blind = "files, failing calls; while a task is watched, only the hooked calls cost time"
            report.append(
                Coverage(
                    "doors",
                    f"fexit/{len(DOORS)} system calls",
                    not self._unattachable,
                    self._unattachable,
                    blind,
                )
            )
        return report

    def recursion_misses(self) -> Counter[EventKind]:
        """How often the kernel refused to run a program that was running on that CPU already."""
        misses: Counter[EventKind] = Counter()
        for hook in self._loaded:
            misses[hook.kind] += self.library.recursion_misses(self.object.program_fd(hook.program))
        return misses

    def sample(self) -> bytes:
        """Records of all watched processes, their sockets, and their neighbours at this moment,
        back to back.
        """
        return b"".join(
            self.object.iterate(name)
            for name in ("on_tasks", "on_sockets")
            if name in self._attached
        )

    def existing(self) -> bytes:
        """EVENT_EXISTING records of all living processes, back to back."""
        if "on_existing" not in self._attached:
            return b""
        return self.object.iterate("on_existing")

    def close(self) -> None:
        self.object.close()
