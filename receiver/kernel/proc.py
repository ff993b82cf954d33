"""Reads /proc and the cgroup file systems for the fallback source. Any read may find nothing."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from receiver.constants import SECOND, TEXT_BYTES
from receiver.events import ProcessKey

_TICK_NS = SECOND // os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SOCKET = re.compile(r"socket:\[(\d+)\]")
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60


class Image(msgspec.Struct, frozen=True):
    parent_pid: int
    uid: int
    gid: int
    namespace_pid: int
    comm: str
    executable: str
    working_directory: str
    memory_cgroup: str
    argv: tuple[str, ...]
    environ: tuple[str, ...]  # allow-listed names only, as in the kernel half
    stdio: tuple[int, int, int]


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 16).decode("utf-8", "replace")
    except OSError:
        return ""


def _lines(path: str) -> list[str]:
    """Lines as the kernel ends them.

    `str.splitlines` also splits at form feeds and the like, which names may contain.
    """
    return _text(path).split("\n")


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


class ProcFs:
    """Reads one process at a time."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        """`allowed`: whether NAME=value may be read (`Capture.allow_list`)."""
        self._allowed = allowed

    def pids(self) -> list[int]:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]

    def key(self, pid: int) -> ProcessKey | None:
        """Start time in whole clock ticks.

        The kernel half has nanoseconds, so the two sources have different keys.
        """
        fields = self._stat(pid)
        return ProcessKey(pid, int(fields[19]) * _TICK_NS) if fields else None

    def _stat(self, pid: int) -> list[str]:
        return _text(f"/proc/{pid}/stat").rpartition(")")[2].split()

    def comm(self, pid: int) -> str:
        return _text(f"/proc/{pid}/comm").rstrip("\n")

    def uid(self, pid: int) -> int:
        try:
            return os.stat(f"/proc/{pid}").st_uid
        except OSError:
            return 0

    def title(self, pid: int) -> str:
        return _text(f"/proc/{pid}/cmdline").partition("\0")[0]

    def image(self, pid: int) -> Image | None:
        """None for an ended process, and for a kernel thread: neither has an address space.

        Command line, names and cgroup are open to every user. The rest is empty where the kernel
        refuses it: proc(5) asks for PTRACE_MODE_READ_FSCREDS.
        """
        executable = _link(f"/proc/{pid}/exe")
        status = dict(
            line.split(":\t", 1) for line in _lines(f"/proc/{pid}/status") if ":\t" in line
        )
        if "VmSize" not in status or "PPid" not in status:
            return None
        argv = _text(f"/proc/{pid}/cmdline")[:TEXT_BYTES].rstrip("\0")
        entries = _text(f"/proc/{pid}/environ").split("\0")
        return Image(
            parent_pid=int(status["PPid"]),
            uid=int(status["Uid"].split()[0]),
            gid=int(status["Gid"].split()[0]),
            namespace_pid=int(status.get("NSpid", str(pid)).split()[-1]),
            comm=status["Name"],
            executable=executable.removesuffix(" (deleted)"),
            working_directory=_link(f"/proc/{pid}/cwd"),
            memory_cgroup=self.memory_cgroup(pid),
            argv=tuple(argv.split("\0")) if argv else (),
            environ=tuple(e for e in entries if self._allowed(e)),
            stdio=(self._inode(pid, 0), self._inode(pid, 1), self._inode(pid, 2)),
        )

    def _inode(self, pid: int, descriptor: int) -> int:
        """The inode of a pipe or socket there; 0 of a file or device, which connect nobody."""
        try:
            found = os.stat(f"/proc/{pid}/fd/{descriptor}")
        except OSError:
            return 0
        connects = stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)
        return found.st_ino if connects else 0

    def memory_cgroup(self, pid: int) -> str:
        """Path below the root of the hierarchy that has the memory controller."""
        unified = ""
        for line in _lines(f"/proc/{pid}/cgroup"):
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if "memory" in controllers.split(","):
                return path
            if not controllers:
                unified = path
        return unified

    def socket_inodes(self, pid: int) -> list[int]:
        found = []
        for name in _names(f"/proc/{pid}/fd"):
            if match := _SOCKET.fullmatch(_link(f"/proc/{pid}/fd/{name}")):
                found.append(int(match[1]))
        return found

    def _io(self, pid: int) -> Counter[str]:
        """Sums over the living threads.

        /proc/PID/io also has the bytes of each child that the process has waited for.
        """
        sums: Counter[str] = Counter()
        for thread in _names(f"/proc/{pid}/task"):
            for line in _lines(f"/proc/{pid}/task/{thread}/io"):
                name, _, value = line.partition(": ")
                sums[name] += int(value or 0)
        return sums

    def sample(self, pid: int) -> dict[str, Any] | None:
        """The fields of a ProcessSample that /proc provides. Bytes are those of living threads."""
        fields = self._stat(pid)
        status = dict(
            line.split(":\t", 1) for line in _lines(f"/proc/{pid}/status") if ":\t" in line
        )
        if not fields or "RssAnon" not in status:
            return None
        io = self._io(pid)
        sched = _text(f"/proc/{pid}/schedstat").split() or ["0", "0", "0"]
        memory = cgroup_memory(self.memory_cgroup(pid))
        usage, limit = memory[:2] if memory is not None else (0, 0)

        def kib(name: str) -> int:
            return int(status[name].split()[0]) << 10 if name in status else 0

        return {
            "anon_bytes": kib("RssAnon"),
            "file_bytes": kib("RssFile"),
            "shmem_bytes": kib("RssShmem"),
            "swap_bytes": kib("VmSwap"),
            "peak_rss_bytes": kib("VmHWM"),
            "major_faults": int(fields[9]),
            "cpu_runtime_ns": (int(fields[11]) + int(fields[12])) * _TICK_NS,
            "run_delay_ns": int(sched[1]),
            "voluntary_switches": int(status.get("voluntary_ctxt_switches", "0")),
            "involuntary_switches": int(status.get("nonvoluntary_ctxt_switches", "0")),
            "read_bytes": io["read_bytes"],
            "written_bytes": io["write_bytes"],
            "read_call_bytes": io["rchar"],
            "write_call_bytes": io["wchar"],
            "threads": int(status["Threads"]),
            "running_threads": int(fields[0] == "R"),
            "disk_threads": int(fields[0] == "D"),
            "open_descriptors": len(_names(f"/proc/{pid}/fd")),
            "memory_usage_bytes": usage,
            "memory_limit_bytes": limit,
        }


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def cgroup_memory(group: str) -> tuple[int, int, int] | None:
    """Usage and limit in bytes (0: none) and OOM kills of a memory cgroup, v1 or v2.

    None if the files do not exist.
    """
    if not group:
        return None
    try:
        return _cgroup_memory(group.lstrip("/"))
    except (
        OSError,
        ValueError,
    ):  # removed in the meantime; or its name is not UTF-8, so this path does not lead to it
        return None


def _cgroup_memory(below: str) -> tuple[int, int, int] | None:
    v1 = V1 / below
    if (v1 / "memory.oom_control").exists():
        counts = dict(line.split() for line in _text(str(v1 / "memory.oom_control")).splitlines())
        limit = int(_text(str(v1 / "memory.limit_in_bytes")) or 0)
        return (
            int(_text(str(v1 / "memory.usage_in_bytes")) or 0),
            limit if limit < _UNLIMITED else 0,
            int(counts.get("oom_kill", 0)),
        )
    v2 = V2 / below
    if (v2 / "memory.events").exists():
        counts = dict(line.split() for line in _text(str(v2 / "memory.events")).splitlines())
        limit_text = _text(str(v2 / "memory.max")).strip()
        limit = int(limit_text) if limit_text.isdigit() else 0
        return int(_text(str(v2 / "memory.current")) or 0), limit, int(counts.get("oom_kill", 0))
    return None
