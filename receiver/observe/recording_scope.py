"""Limits a recording to one command: the command and its children in full, and only the identity of
other processes.

Of other processes, their forks, images, signals and ends are kept, with pid, start time, name (the
executable's base name) and numbers: an analysis needs them to find who killed whom. Their
arguments, environment, titles, working directories, files, DNS queries and connections are left
out, except a connection whose other end is the command's.
"""

from __future__ import annotations

from collections import Counter, deque

import msgspec

from receiver.events import (
    Connection,
    ConnectionFlag,
    Event,
    Exec,
    Existing,
    Exit,
    Fork,
    Neighbour,
    OomKill,
    ProcessKey,
    Signal,
)
from receiver.model import ContainerName, Watch

MEMBERS = 131_072  # known processes of the command; past it, those that ended first are evicted
PORTS = 65_536  # pairs of ports of its connections
_NO_FILE = {
    "working_directory": "",
    "memory_cgroup": "",
    "argv": (),
    "argc": 0,
    "environ": (),
    "stdin_inode": 0,
    "stdout_inode": 0,
    "stderr_inode": 0,
}


class CommandScope:
    """Decides on each event, in the order in which the core gets them.

    `left_out` counts the dropped events, by kind.
    """

    def __init__(self, pid_namespace: int = 0) -> None:
        """`pid_namespace`: 0 where pids are the host's; otherwise watched pids are those of the
        observer's namespace.
        """
        self.left_out: Counter[str] = Counter()
        self._namespace = pid_namespace
        self._watches: dict[int, int] = {}  # pid → parent
        self._members: dict[ProcessKey, None] = {}
        self._ended: deque[ProcessKey] = deque()
        self._cgroups: set[str] = set()
        self._ports: dict[tuple[int, int], None] = {}

    def watch(self, watch: Watch) -> None:
        """Expects the fork of a command, as the core does."""
        self._watches[watch.pid] = watch.parent_pid

    def keep(self, event: Event) -> Event | None:
        """The event as it may be stored: unchanged, reduced, or None."""
        if isinstance(event, Fork):
            self._forked(event)
            return event
        if isinstance(event, Signal | Neighbour):  # they hold names and numbers only
            return event
        if isinstance(event, OomKill):
            return self._oom_kill(event)
        if event.process in self._members:
            self._learn(event)
            return event
        if isinstance(event, Exec | Existing):
            return msgspec.structs.replace(
                event, executable=event.executable.rstrip("/").rpartition("/")[2], **_NO_FILE
            )
        if isinstance(event, Exit):
            return msgspec.structs.replace(event, title="") if event.title else event
        if isinstance(event, Connection) and self._is_ours(event):
            return event
        self.left_out[type(event).__name__] += 1
        return None

    def containers(self, names: tuple[ContainerName, ...]) -> tuple[ContainerName, ...]:
        """The control groups that the command runs in."""
        return tuple(name for name in names if any(name.id in group for group in self._cgroups))

    @property
    def cgroups(self) -> int:
        """The number of control groups in which the command was seen."""
        return len(self._cgroups)

    def _forked(self, event: Fork) -> None:
        pid = event.pid_namespace_pid if self._namespace else event.process.tgid
        if self._watches.get(pid) == event.parent.tgid:
            del self._watches[pid]
        elif event.parent not in self._members:
            return
        if len(self._members) >= MEMBERS:
            gone = self._ended.popleft() if self._ended else next(iter(self._members))
            self._members.pop(gone, None)
        self._members[event.process] = None

    def _learn(self, event: Event) -> None:
        if isinstance(event, Exec):
            self._cgroups.add(event.memory_cgroup)
        elif isinstance(event, Exit):
            self._ended.append(event.process)
        elif isinstance(event, Connection) and len(self._ports) < PORTS:
            self._ports[event.local_port, event.peer_port] = None

    def _oom_kill(self, event: OomKill) -> OomKill:
        if event.victim in self._members:
            return event
        ours = self._cgroups
        return msgspec.structs.replace(
            event,
            memory_cgroup=event.memory_cgroup if event.memory_cgroup in ours else "",
            victim_cgroup=event.victim_cgroup if event.victim_cgroup in ours else "",
        )

    def _is_ours(self, event: Connection) -> bool:
        """The other end of a connection of the command, or the listener that accepted it."""
        if event.connection_flags & ConnectionFlag.LISTENER:
            return any(peer == event.local_port for _, peer in self._ports)
        return (event.peer_port, event.local_port) in self._ports
