"""The loaded BPF programs, which of them are attached, and the coverage report."""

from __future__ import annotations

import os
import re
import struct
from collections import Counter
from pathlib import Path

from receiver.constants import MARKS_PER_ENTRY, PID_LIMIT, YOUNG_MS
from receiver.errors import UnavailableError
from receiver.events import EventKind, ProcessKey
from receiver.kernel.bpf_object import Object
from receiver.kernel.capture import Capture, KernelLimits, fill
from receiver.kernel.hooks import ALTERNATIVES, CALL_PREFIX, DOORS, HOOKS, Coverage, Hook
from receiver.kernel.libbpf import Library
from receiver.kernel.own_pids import own_tgids
from receiver.kernel.preflight import OBJECT, own_pid_namespace, preflight, read
from receiver.model import OF_CALLS


def mismatch(hook: Hook, arguments: int | None) -> str:
    if hook.iterator or hook.syscall_hook == "fexit":
        return ""
    if arguments is None:
        return f"this kernel has no tracepoint {hook.tracepoint}"
    if hook.arguments and arguments != hook.arguments:
        return f"{hook.tracepoint} has {arguments} arguments here, not {hook.arguments}"
    return ""


def _pid_max() -> int:
    """pid_max at this moment. A pid above it (the limit was raised later) is not watched."""
    return min(int(read(Path("/proc/sys/kernel/pid_max")) or PID_LIMIT), PID_LIMIT)


def _setting(name: str) -> int:
    """A number of /proc/sys/vm at this moment; 0 where it cannot be read."""
    return int(read(Path("/proc/sys/vm") / name) or 0)


class Probes:
    """The loaded object, its links, and the coverage report."""

    def __init__(
        self,
        *,
        lifecycle_bytes: int,
        bulk_bytes: int,
        unwatched_bytes: int = 1 << 16,
        capture: Capture,
        limits: KernelLimits | None = None,
        syscall_hook: str = "auto",
        launched: bool = False,
    ) -> None:
        """`launched`: the parent is the launcher of `kwitness run`, which belongs to kwitness and
        appears in no record.

        `syscall_hook`: fexit or sys_exit. auto: the cheaper one that this kernel has.
        """
        preflight()
        self.limits = limits or KernelLimits()
        self.library = Library()
        if syscall_hook == "auto":
            takes_fexit = self.library.takes_fexit(f"{CALL_PREFIX}socket")
            syscall_hook = "fexit" if takes_fexit else "sys_exit"
        self.syscall_hook = syscall_hook
        self._refused = self._unfit()
        self.namespace = own_pid_namespace()
        self.own_tgid, parent_tgid = (
            own_tgids(self.library, self.namespace)
            if self.namespace
            else (os.getpid(), os.getppid())
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
        fill(self.object, capture, self.limits)
        self._attached: set[str] = set()
        self.calls_attached = False
        self._unattachable = ""  # why the last attempt to hook system calls failed

    def _unfit(self) -> dict[str, str]:
        """The programs that this kernel has no use for, with the reason."""
        arguments = self.library.tracepoint_arguments(
            {hook.tracepoint for hook in HOOKS if hook.tracepoint and not hook.iterator}
        )
        unfit = {}
        for hook in HOOKS:
            if hook.syscall_hook and hook.syscall_hook != self.syscall_hook:
                unfit[hook.program] = f"{self.syscall_hook} is used instead"
            elif why := mismatch(hook, arguments.get(hook.tracepoint)):
                unfit[hook.program] = why
        return unfit

    def _load(self, rings: dict[str, int]) -> Object:
        """Loads every program that the verifier accepts.

        A refused program is logged and disabled, and the rest is tried again.
        """
        for _ in HOOKS:
            candidate = Object(self.library, OBJECT)
            candidate.set_constant("self_tgid", self.own_tgid)
            candidate.set_constant("launcher_tgid", self.launcher_tgid)
            candidate.set_constant("mappings_limit", _setting("max_map_count"))
            candidate.set_constant("overcommit_mode", _setting("overcommit_memory"))
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
        if hook.syscall_hook == "fexit":
            self.syscall_hook = "sys_exit"
            self._refused |= {
                h.program: self._refused[names[-1]] for h in HOOKS if h.syscall_hook == "fexit"
            }
            self._refused.pop("on_call", None)
        if hook.required:
            raise UnavailableError(
                f"{hook.program} ({hook.tracepoint}): {self._refused[names[-1]]}"
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
                if not hook.syscall_hook:
                    self._refused[hook.program] = failure.strerror or "refused"
                    continue
                self.detach_calls()  # with half of the hooks, calls would be missed silently
                self._unattachable = failure.strerror or "refused"
                raise
            self._attached.add(hook.program)
        self.calls_attached, self._unattachable = True, ""

    def try_calls(self) -> None:
        """Whether `attach_calls` may succeed: it attaches and detaches one hook. Raises OSError."""
        hook = next((h for h in self._on_demand() if h.syscall_hook), None)
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
                hook.syscall_hook and hook.syscall_hook != self.syscall_hook
            ):
                continue
            if hook.syscall_hook == "fexit" and hook.program not in self._refused:
                continue  # reported as one entry, below
            name = f"iter/{hook.over or 'task'}" if hook.iterator else f"tp_btf/{hook.tracepoint}"
            why = self._refused.get(hook.program) or (
                self._unattachable if hook.syscall_hook else ""
            )
            attached = hook.program in self._attached or (hook.on_demand and not why)
            kinds = OF_CALLS if hook.syscall_hook else (hook.kind.name.lower(),)
            report.append(Coverage(hook.program, name, attached, why, hook.blind, kinds))
        if self.syscall_hook == "fexit":
            blind = "files, failing calls; while a task is watched, only the hooked calls cost time"
            report.append(
                Coverage(
                    "doors",
                    f"fexit/{len(DOORS)} system calls",
                    not self._unattachable,
                    self._unattachable,
                    blind,
                    OF_CALLS,
                )
            )
        return report

    def ask_mark(self, key: ProcessKey) -> None:
        """Tells the kernel half which process a mark of this pid is meant for."""
        self.object.update(
            "asked_marks",
            struct.pack("<I", key.tgid),
            struct.pack("<Q", key.start_boottime_ns),
        )

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

    def early_sample(self, now_ns: int) -> bytes:
        """EVENT_EARLY_SAMPLE records of the watched processes that have just begun."""
        last = int.from_bytes(self.object.lookup("youngest", bytes(4), 8), "little")
        if "on_young_tasks" not in self._attached or now_ns - last > YOUNG_MS * 1_000_000:
            return b""
        return self.object.iterate("on_young_tasks")

    def existing(self) -> bytes:
        """EVENT_EXISTING records of all living processes, back to back."""
        if "on_existing" not in self._attached:
            return b""
        return self.object.iterate("on_existing")

    def close(self) -> None:
        self.object.close()
