"""What /proc and the memory cgroups held, read every 20 ms."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

import msgspec

PERIOD = 0.02
_OTHERS = 25  # of which one look is at the processes of others, too
_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class Seen(msgspec.Struct):
    """One process as /proc told it. Bytes; the largest value of each."""

    names: set[str] = msgspec.field(default_factory=set)
    first: float = 0.0
    last: float = 0.0
    peak_rss: int = 0
    threads: set[int] = msgspec.field(default_factory=set)
    blocked: int = 0  # looks at which it was in uninterruptible sleep


class Group(msgspec.Struct):
    """One memory cgroup."""

    limit: int = 0
    peak: int = 0
    members: dict[int, int] = msgspec.field(default_factory=dict)  # pid to peak RSS
    oom_kills: int = 0


class Polls:
    """Reads until `stop`. Times are those of time.time()."""

    def __init__(self) -> None:
        self.processes: dict[int, Seen] = {}
        self.groups: dict[str, Group] = {}
        self._ours: set[int] = set()  # the root, those below it, and all in their memory cgroups
        self._strangers: set[int] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, root: int) -> None:
        """Looks at the processes below `root` each time, and at the others now and then."""
        self._ours.add(root)
        self._thread.start()

    def stop(self) -> None:
        """May be called again."""
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        self._strangers = set(_pids()) - self._ours
        looks = 0
        while not self._done.wait(PERIOD):
            now = time.time()
            for pid in _pids():
                if looks % _OTHERS == 0 or pid not in self._strangers:
                    self._look(pid, now)
            looks += 1

    def _look(self, pid: int, now: float) -> None:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        fields = dict(line.split(":\t", 1) for line in status.split("\n") if ":\t" in line)
        if pid not in self._ours:
            known = int(fields["PPid"]) in self._ours
            (self._ours if known else self._strangers).add(pid)
        if "VmRSS" not in fields:
            return
        rss = int(fields["VmRSS"].split()[0]) << 10
        seen = self.processes.setdefault(pid, Seen(first=now))
        seen.last, seen.peak_rss = now, max(seen.peak_rss, rss)
        seen.names.add(fields["Name"])
        with contextlib.suppress(OSError):
            seen.names.add(os.readlink(f"/proc/{pid}/exe").rpartition("/")[2])
        seen.threads.add(int(fields["Threads"]))
        seen.blocked += fields["State"].startswith("D")
        self._group(pid, rss)

    def _group(self, pid: int, rss: int) -> None:
        path, name = memory_group(pid)
        if path is None:
            return
        group = self.groups.setdefault(name, Group())
        v1 = (path / "memory.limit_in_bytes").exists()
        group.limit = _number(path / ("memory.limit_in_bytes" if v1 else "memory.max"))
        usage = _number(path / ("memory.usage_in_bytes" if v1 else "memory.current"))
        group.peak = max(group.peak, usage)
        group.members[pid] = max(group.members.get(pid, 0), rss)
        if not self._ours.isdisjoint(group.members):
            self._ours.add(pid)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def memory_group(pid: int) -> tuple[Path | None, str]:
    """The folder and the name of the process's memory cgroup; none for the root."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().split("\n")
    except OSError:
        return None, ""
    unified = ""
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if "memory" in controllers.split(","):
            return (_V1 / path.lstrip("/"), path) if path != "/" else (None, "")
        if line and not controllers:
            unified = path
    folder = _V2 / unified.lstrip("/")
    return (folder, unified) if (folder / "memory.max").exists() else (None, "")


def _number(path: Path) -> int:
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    value = int(text) if text.isdigit() else 0
    return value if value < 1 << 60 else 0
