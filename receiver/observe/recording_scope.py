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
    Exit,
    Fork,
    ProcessKey,
)
from receiver.model import ContainerName, Watch, about
from receiver.observe.events import EVENTS, Kept

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
        """The event as it may be stored: unchanged, reduced, or None.

        `EVENTS` says what is kept of an event about another process.
        """
        if isinstance(event, Fork):
            self._forked(event)
        if about(event) in self._members:
            self._learn(event)
            return event
        found = self._reduced(event, EVENTS[type(event)].kept)
        if found is None:
            self.left_out[type(event).__name__] += 1
        return found

    def _reduced(self, event: Event, kept: Kept) -> Event | None:
        match kept:
            case Kept.WHOLE:
                return event
            case Kept.NAMED:
                return _named(event)
            case Kept.WITHOUT_TITLE:
                return _replaced(event, title="")
            case Kept.WITHOUT_GROUPS:
                return self._without_groups(event)
            case Kept.OTHER_END if isinstance(event, Connection) and self._is_ours(event):
                return event
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

    def _without_groups(self, event: Event) -> Event:
        names = ("memory_cgroup", "victim_cgroup")
        others = {n: "" for n in names if getattr(event, n) not in self._cgroups}
        return _replaced(event, **others)

    def _is_ours(self, event: Connection) -> bool:
        """The other end of a connection of the command, or the listener that accepted it."""
        if event.connection_flags & ConnectionFlag.LISTENER:
            return any(peer == event.local_port for _, peer in self._ports)
        return (event.peer_port, event.local_port) in self._ports


def _named(event: Event) -> Event:
    """Only the base name of its executable."""
    name = getattr(event, "executable", "").rstrip("/").rpartition("/")[2]
    return _replaced(event, executable=name, **_NO_FILE)


def _replaced(event: Event, **values: object) -> Event:
    if all(getattr(event, name) == value for name, value in values.items()):
        return event
    return msgspec.structs.replace(event, **values)
