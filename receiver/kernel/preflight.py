"""The conditions for eBPF on this host, checked before libbpf is asked: its error messages help
less.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from receiver.errors import PrivilegeError, UnavailableError
from receiver.kernel.privileges import CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN

OBJECT = Path(__file__).with_name("kwitness.bpf.o")
BTF = Path("/sys/kernel/btf/vmlinux")
LOCKDOWN = Path("/sys/kernel/security/lockdown")
PID_NAMESPACE = (
    0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h: the initial namespace on every kernel
)


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
    if "[confidentiality]" in read(LOCKDOWN):
        raise UnavailableError(
            "kernel lockdown is in confidentiality mode, which forbids eBPF to read memory: boot "
            "with lockdown=integrity",
            "lockdown",
        )
    status = read(Path("/proc/self/status"))
    if not status:
        raise UnavailableError(
            "cannot read /proc/self/status: mount /proc, or raise the limit of open files "
            "(ulimit -n)"
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


def read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
