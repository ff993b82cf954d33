"""Processes as the process connector reports them, with details from /proc and the cgroups.

It does no netlink itself: messages come in as pyroute2 decoded them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any

from receiver.events import (
    Connection,
    ConnectionStage,
    Event,
    Exec,
    Existing,
    Exit,
    Fork,
    OomKill,
    OomScope,
    ProcessKey,
    ProcessSample,
    Title,
)
from receiver.kernel.netlink_messages import ThreadUsage
from receiver.kernel.netlink_pyroute2 import (
    PROC_EVENT_COMM,
    PROC_EVENT_EXEC,
    PROC_EVENT_EXIT,
    PROC_EVENT_FORK,
    SS_ESTABLISHED,
)
from receiver.kernel.netlink_records import Records
from receiver.kernel.proc import ProcFs, cgroup_memory
from receiver.model import NOBODY

_USAGE_LIMIT, _GROUPS_LIMIT = 65_536, 65_536
_CPU_LIMIT, _TIME_LIMIT = 0xFFFF, 1 << 62  # the largest values of an event header (bpf/events.h)
_NO_USAGE = ThreadUsage()


class Processes:
    """Living processes of the host, and the events of their lives."""

    def __init__(
        self,
        proc: ProcFs,
        skipped: tuple[int, ...],
        offset_ns: int,
        read_usage: Callable[[], None],
    ) -> None:
        """`skipped`: pids that appear in no record.

        `offset_ns` turns the connector's monotonic time into the boot time of records.
        `read_usage` calls `used` for each ended thread whose resources wait to be read.
        """
        self.watched: set[int] = set()
        self.filtered_self = 0
        self.lost = 0  # messages with values that no record can hold
        self._proc = proc
        self._skipped = skipped
        self._offset_ns = offset_ns
        self._read_usage = read_usage
        self._records = Records()
        self._keys: dict[int, ProcessKey] = {}
        # memory cgroup of living processes, for the OOM counter at their exit
        self._groups: dict[int, str] = {}
        self._oom_kills: dict[str, int] = {}
        self._used: dict[int, ThreadUsage] = {}  # sums of ended threads, by tgid

    def existing(self, now: Callable[[], int]) -> list[Event]:
        found: list[Event] = []
        for pid in self._proc.pids():
            key = self._proc.key(pid)
            image = self._proc.image(pid)
            if key is None or image is None or pid in self._skipped:
                continue
            self._keys[pid] = key
            parent = self._key(image.parent_pid)
            self.remember_group(pid, image.memory_cgroup)
            found.append(
                self._records.of_image(Existing, key, parent=parent, image=image, now=now(), cpu=0)
            )
        return found

    def used(self, tgid: int, values: ThreadUsage) -> bool:
        """A thread's resources, for its process's exit. False: the oldest ones made room.

        They are of a process whose exit was lost, or of one that goes on without that thread.
        """
        old = self._used.get(tgid)
        room = old is not None or len(self._used) < _USAGE_LIMIT
        if not room:
            del self._used[next(iter(self._used))]
        self._used[tgid] = values if old is None else old.plus(values)
        return room

    def events(self, message: Any) -> list[Event]:
        """Of one message of the process connector, in its order."""
        cpu, stamp = message["cpu"], message["timestamp_ns"]
        if cpu > _CPU_LIMIT or stamp > _TIME_LIMIT:
            self.lost += 1  # not a message of the connector: no record can hold it
            return []
        what, now = message["what"], stamp + self._offset_ns
        if what == PROC_EVENT_FORK:
            child = message["child_tgid"]
            if message["child_pid"] != child:
                return []  # a thread
            return [self._forked(message["parent_tgid"], child, now, cpu)]
        if what not in (PROC_EVENT_EXEC, PROC_EVENT_COMM, PROC_EVENT_EXIT):
            return []
        thread, pid = message["process_pid"], message["process_tgid"]
        if pid in self._skipped:
            self.filtered_self += 1
            return []
        if what == PROC_EVENT_EXEC:
            return self._executed(pid, now, cpu)
        if thread != pid:
            return []
        if what == PROC_EVENT_EXIT:
            return self._exited(pid, message["exit_code"], now, cpu)
        return self._renamed(pid, message["comm"], now, cpu)

    def _forked(self, parent: int, child: int, now: int, cpu: int) -> Event:
        key = self._keys[child] = self._proc.key(child) or ProcessKey(child, now)
        if parent in self.watched:
            self.watched.add(child)
        self.remember_group(child, self._groups.get(parent, ""))
        return self._records.make(
            Fork,
            now,
            cpu,
            process=key,
            parent=self._key(parent),
            uid=self._proc.uid(child),
            pid_namespace_pid=child,
            comm=self._proc.comm(child),
        )

    def _executed(self, pid: int, now: int, cpu: int) -> list[Event]:
        image = self._proc.image(pid)
        if image is None:
            return []  # it has ended already: only its exit will be known
        self.remember_group(pid, image.memory_cgroup)
        key, parent = self._key(pid), self._key(image.parent_pid)
        return [self._records.of_image(Exec, key, parent=parent, image=image, now=now, cpu=cpu)]

    def _renamed(self, pid: int, name: bytes, now: int, cpu: int) -> list[Event]:
        key = self._keys.get(pid)
        if key is None:
            return []
        title = self._proc.title(pid)
        comm = name.partition(b"\0")[0].decode("utf-8", "replace")
        return [self._records.make(Title, now, cpu, process=key, comm=comm, title=title)]

    def _exited(self, pid: int, status: int, now: int, cpu: int) -> list[Event]:
        key = self._keys.pop(pid, None) or ProcessKey(pid, now)
        self.watched.discard(pid)
        group = self._groups.pop(pid, "")
        if pid not in self._used:
            self._read_usage()  # the kernel sends the resources before it reports the exit
        used = self._used.pop(pid, _NO_USAGE)
        out: list[Event] = []
        if status & 0x7F == 9 and (kill := self._oom(group)):
            out.append(self._oom_kill(key, group, kill, used.peak_rss, now=now, cpu=cpu))
        out.append(
            self._records.make(
                Exit,
                now + 1,
                cpu,
                process=key,
                wait_status=status,
                user_cpu_ns=used.user,
                system_cpu_ns=used.system,
                cpu_runtime_ns=used.runtime,
                run_delay_ns=used.run_delay,
                peak_rss_bytes=used.peak_rss,
                read_bytes=used.read,
                written_bytes=used.written,
                read_call_bytes=used.read_calls,
                write_call_bytes=used.write_calls,
            )
        )
        return out

    def _oom_kill(
        self, key: ProcessKey, group: str, kill: tuple[int, int], peak: int, *, now: int, cpu: int
    ) -> Event:
        usage, limit = kill
        return self._records.make(
            OomKill,
            now,
            cpu,
            victim=key,
            trigger=key,
            scope=OomScope.CGROUP,
            memory_cgroup=group,
            victim_cgroup=group,
            usage_bytes=usage,
            limit_bytes=limit,
            anon_rss_bytes=peak,
        )

    def _oom(self, group: str) -> tuple[int, int] | None:
        """Usage and limit if the cgroup has counted an OOM kill since the last read."""
        memory = cgroup_memory(group)
        if memory is None:
            return None
        usage, limit, kills = memory
        before = self._oom_kills.get(group, 0)
        if kills <= before:
            return None
        self._oom_kills[group] = before + 1
        return usage, limit

    def remember_group(self, pid: int, group: str) -> None:
        if not group:
            return
        self._groups[pid] = group
        if group in self._oom_kills or (memory := cgroup_memory(group)) is None:
            return
        if len(self._oom_kills) >= _GROUPS_LIMIT:
            del self._oom_kills[next(iter(self._oom_kills))]  # read again if it is used again
        self._oom_kills[group] = memory[2]

    def _key(self, pid: int) -> ProcessKey:
        found = self._keys.get(pid) or self._proc.key(pid)
        if found is not None and pid:
            self._keys.setdefault(pid, found)
        return found or NOBODY

    # -- samples

    def samples(self, now: int) -> list[Event]:
        """Of the watched processes that live."""
        out: list[Event] = []
        for pid in list(self.watched):
            key, values = self._keys.get(pid), self._proc.sample(pid)
            if key is None or values is None:
                continue
            ended = self._used.get(pid, _NO_USAGE)  # its threads that are gone
            values["read_bytes"] += ended.read
            values["written_bytes"] += ended.written
            values["read_call_bytes"] += ended.read_calls
            values["write_call_bytes"] += ended.write_calls
            out.append(self._records.make(ProcessSample, now, 0, process=key, **values))
        return out

    def sockets(self) -> dict[int, ProcessKey]:
        """Inodes of the watched processes' sockets, and the process that has each."""
        return {
            inode: key
            for pid in self.watched
            if (key := self._keys.get(pid)) is not None
            for inode in self._proc.socket_inodes(pid)
        }

    def connections(
        self, owners: dict[int, ProcessKey], entries: Iterable[Any], now: int
    ) -> list[Event]:
        """`entries`: pyroute2's `inet_diag_msg`."""
        return [
            self._connection(owner, entry, now)
            for entry in entries
            if (owner := owners.get(entry.get("idiag_inode", 0))) is not None
        ]

    def _connection(self, owner: ProcessKey, entry: Any, now: int) -> Event:
        high, low = _address(entry["idiag_dst"])
        return self._records.make(
            Connection,
            now,
            0,
            process=owner,
            connection_id=entry["idiag_inode"],
            stage=ConnectionStage.SAMPLED,
            established_boottime_ns=now if entry["idiag_state"] == SS_ESTABLISHED else 0,
            state=entry["idiag_state"],
            family=entry["idiag_family"],
            peer_high=high,
            peer_low=low,
            peer_port=entry["idiag_dport"],
            local_port=entry["idiag_sport"],
            unacknowledged_bytes=entry["idiag_wqueue"],
            unread_bytes=entry["idiag_rqueue"],
        )


def _address(text: str) -> tuple[int, int]:
    if ":" in text:
        raw = socket.inet_pton(socket.AF_INET6, text)
        return int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")
    return 0, int.from_bytes(socket.inet_aton(text), "little")
