"""The fallback without eBPF.

The process connector reports fork, exec, comm and exit. taskstats gives the resources that an
exited task had used. The cgroup's own counters give OOM kills. Polled /proc and socket diagnostics
give samples.

It emits the same records as the BPF half, so the layers above are the same; `coverage` lists what
it cannot see. Details of a process are read from /proc a moment later: of a process that lives less
than that, only the exit is known.

Sources: linux/Documentation/accounting/taskstats.rst, include/uapi/linux/{cn_proc,taskstats}.h,
netlink(7), sock_diag(7).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from receiver.errors import NamespaceError
from receiver.events import (
    KINDS,
    Connection,
    ConnectionStage,
    Event,
    EventKind,
    Exec,
    Existing,
    Exit,
    FilterReason,
    Fork,
    Ledger,
    LossReason,
    OomKill,
    OomScope,
    ProcessKey,
    ProcessSample,
    Title,
    encode,
)
from receiver.kernel import netlink_wire as wire
from receiver.kernel.capture import Capture
from receiver.kernel.clock import boottime_ns
from receiver.kernel.decode import order
from receiver.kernel.hooks import Coverage
from receiver.kernel.preflight import own_pid_namespace
from receiver.kernel.proc import Image, ProcFs, accounting, cgroup_memory
from receiver.kernel.source import Batch, Deliver, SourceConfig
from receiver.model import NOBODY

_READ_BYTES = 1 << 16
_USAGE_LIMIT = 65_536
_CPU_LIMIT, _TIME_LIMIT = 0xFFFF, 1 << 62  # the largest values of an event header (bpf/events.h)
_BLIND = (
    ("signal_generate", "who killed whom"),
    (
        "mark_victim",
        (
            "which process the OOM killer chose: a SIGKILL together with the cgroup's OOM count "
            "is taken for it"
        ),
    ),
    ("sys_exit", "files, failing calls, name queries"),
    ("inet_sock_set_state", "connections that open and close between two samples"),
    ("open files at death", "partial writes"),
)


class NetlinkSource:
    """As `LiveSource`, by other means. Single-threaded: everything runs on the event loop."""

    name = "netlink"
    namespace = 0  # it reports the host's pids only

    def __init__(self, config: SourceConfig, capture: Capture, *, launched: bool = False) -> None:
        """`launched`: see `LiveSource`."""
        if own_pid_namespace():
            raise NamespaceError(
                "netlink reports the host's pids, and this is another pid namespace: start the "
                "container with --pid=host"
            )
        self.own_tgid = os.getpid()
        self.starter_tgid = os.getppid() if launched else self.own_tgid
        self.config = config
        self._proc = ProcFs(capture.with_binding(config.environment).allow_list())
        self._keys: dict[int, ProcessKey] = {}
        self._groups: dict[
            int, str
        ] = {}  # memory cgroup of living processes, for the OOM counter at their exit
        self._oom_kills: dict[str, int] = {}
        self._used: dict[int, tuple[int, ...]] = {}  # taskstats sums of ended threads, by tgid
        self._watched: set[int] = set()
        self._sequence = 0
        self._lost = 0
        self._counts = [0] * KINDS
        self._filtered_self = 0
        # the connector stamps events with the monotonic clock
        self._offset_ns = boottime_ns() - time.monotonic_ns()
        self._connector = wire.connector()
        try:
            self._stats = wire.taskstats()
        except OSError:
            self._stats = None
        self.attached_at_ns = boottime_ns()
        self.hooks = None  # this source has no system-call hooks, and `coverage` says so
        self.on_late: Callable[[list[int]], None] = lambda _: None
        self.read_until_ns = 0  # all events sent before this time have been read

    def coverage(self) -> list[Coverage]:
        seen = [
            Coverage(
                "connector",
                "netlink/proc",
                True,
                "",
                "which process started which, and how it ended",
            )
        ]
        why = "" if self._stats is not None else "taskstats is not available"
        seen.append(
            Coverage(
                "taskstats",
                "netlink/taskstats",
                self._stats is not None,
                why,
                "CPU, memory and I/O of processes",
            )
        )
        seen.append(
            Coverage(
                "sock_diag", "netlink/sock_diag", True, "", "living connections, once a second"
            )
        )
        return seen + [
            Coverage("ebpf", hook, False, "eBPF is not used", blind) for hook, blind in _BLIND
        ]

    # -- the interface of LiveSource

    @property
    def following(self) -> bool:
        return bool(self._watched)

    def watch(self, keys: Iterable[ProcessKey]) -> None:
        """These processes are sampled once a second; children follow at their fork."""
        self._watched.update(key.tgid for key in keys)

    def unwatch(self) -> None:
        self._watched.clear()

    @contextlib.contextmanager
    def watching_self(self) -> Iterator[None]:
        self._watched.add(self.starter_tgid)
        yield
        # fork events may still wait in the socket: the core watches each process that joins an
        # execution
        self._watched.discard(self.starter_tgid)

    def canary(self) -> bool:
        """The connector sends no event of this process to wait for, so this only checks that the
        socket is open.
        """
        return self._connector.fileno() >= 0

    def user_losses(self) -> dict[tuple[int, int, int], int]:
        """None: this source has no shares."""
        return {}

    def ledger(self) -> Ledger:
        """Seen and submitted are the same here.

        The socket reports an overflow without kind or number, so each counts as one.
        """
        filtered = [[0] * len(FilterReason) for _ in range(KINDS)]
        filtered[EventKind.EXEC][FilterReason.SELF] = self._filtered_self
        lost = [[0] * len(LossReason) for _ in range(KINDS)]
        lost[EventKind.FORK][LossReason.RING_FULL] = self._lost
        seen = tuple(
            n + sum(f) + sum(x) for n, f, x in zip(self._counts, filtered, lost, strict=True)
        )
        return Ledger(
            seen, tuple(self._counts), tuple(map(tuple, filtered)), tuple(map(tuple, lost))
        )

    def existing(self) -> Batch:
        found: list[Event] = []
        for pid in self._proc.pids():
            key = self._proc.key(pid)
            image = self._proc.image(pid)
            if key is None or image is None or pid in (self.own_tgid, self.starter_tgid):
                continue
            self._keys[pid] = key
            parent = self._key(image.parent_pid)
            self._remember_group(pid, image.memory_cgroup)
            found.append(
                self._image(Existing, key, parent=parent, image=image, now=boottime_ns(), cpu=0)
            )
        return [encode(e) for e in found]

    def drain(self) -> tuple[Batch, bool]:
        """One batch in order of time. True when more may be waiting."""
        self._drain_stats()
        events: list[Event] = []
        more, began = False, boottime_ns()
        while True:
            try:
                data, sender = self._connector.recvfrom(_READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._lost += 1  # the socket reports that it dropped, but not how many
                continue
            if sender[0] == 0 and (found := self._event(data)):  # port 0 is the kernel: netlink(7)
                events += found
            if len(events) >= self.config.batch_records:
                more = True
                break
        if not more:
            self.read_until_ns = began
        for event in events:
            self._counts[_KIND[type(event)]] += 1
        return sorted((encode(e) for e in events), key=order), more

    async def pump(self, deliver: Deliver, stop: asyncio.Event) -> None:
        """Delivers until `stop` is set, then delivers the rest."""
        while True:
            stopping = stop.is_set()
            batch, more = self.drain()
            if batch:
                deliver(batch, boottime_ns())
            if more:
                await asyncio.sleep(0)
                continue
            if stopping:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.config.drain_interval_seconds):
                    await stop.wait()

    def sample(self) -> Batch:
        events: list[Event] = []
        now = boottime_ns()
        for pid in list(self._watched):
            key = self._keys.get(pid)
            if key is not None and (values := self._proc.sample(pid)) is not None:
                events.append(self._fact(ProcessSample, now, 0, process=key, **values))
        with contextlib.suppress(OSError, ImportError):
            events += self._sockets(now)
        for event in events:
            self._counts[_KIND[type(event)]] += 1
        return [encode(e) for e in events]

    def detach(self) -> None:
        """Accepts no new events; those that wait can still be read."""
        with contextlib.suppress(OSError):
            self._connector.send(wire.listen(2))

    def close(self) -> None:
        self._connector.close()
        if self._stats is not None:
            self._stats.close()

    # -- the connector

    def _event(self, data: bytes) -> list[Event]:
        at = wire.NLMSG.size + wire.CN.size
        if len(data) < at + wire.PROC_EVENT.size + 8:
            return []
        what, cpu, stamp = wire.PROC_EVENT.unpack_from(data, at)
        if cpu > _CPU_LIMIT or stamp > _TIME_LIMIT:
            self._lost += 1  # not a message of the connector: no record can hold it
            return []
        body = data[at + wire.PROC_EVENT.size :]
        now = stamp + self._offset_ns
        if what == wire.FORK and len(body) >= 16:
            _, parent, thread, child = struct.unpack_from("<IIII", body)
            return [self._forked(parent, child, now, cpu)] if thread == child else []
        thread, pid = struct.unpack_from("<II", body)
        if pid in (self.own_tgid, self.starter_tgid):
            self._filtered_self += 1
            return []
        if what == wire.EXEC:
            return self._executed(pid, now, cpu)
        if what == wire.COMM and thread == pid and pid in self._keys:
            title = self._proc.title(pid)
            comm = body[8:24].partition(b"\0")[0].decode("utf-8", "replace")
            return [self._fact(Title, now, cpu, process=self._keys[pid], comm=comm, title=title)]
        if what == wire.EXIT and thread == pid and len(body) >= 16:
            return self._exited(pid, struct.unpack_from("<I", body, 8)[0], now, cpu)
        return []

    def _forked(self, parent: int, child: int, now: int, cpu: int) -> Event:
        key = self._keys[child] = self._proc.key(child) or ProcessKey(child, now)
        if parent in self._watched:
            self._watched.add(child)
        self._remember_group(child, self._groups.get(parent, ""))
        return self._fact(
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
        self._remember_group(pid, image.memory_cgroup)
        return [
            self._image(
                Exec,
                self._key(pid),
                parent=self._key(image.parent_pid),
                image=image,
                now=now,
                cpu=cpu,
            )
        ]

    def _exited(self, pid: int, status: int, now: int, cpu: int) -> list[Event]:
        key = self._keys.pop(pid, None) or ProcessKey(pid, now)
        self._watched.discard(pid)
        group = self._groups.pop(pid, "")
        user, system, runtime, delay, peak, read, written, read_calls, write_calls = self._used.pop(
            pid, (0,) * 9
        )
        out: list[Event] = []
        if status & 0x7F == 9 and (kill := self._oom(group)):
            used, limit = kill
            out.append(
                self._fact(
                    OomKill,
                    now,
                    cpu,
                    victim=key,
                    trigger=key,
                    scope=OomScope.CGROUP,
                    memory_cgroup=group,
                    victim_cgroup=group,
                    usage_bytes=used,
                    limit_bytes=limit,
                    anon_rss_bytes=peak,
                )
            )
        out.append(
            self._fact(
                Exit,
                now + 1,
                cpu,
                process=key,
                wait_status=status,
                user_cpu_ns=user,
                system_cpu_ns=system,
                cpu_runtime_ns=runtime,
                run_delay_ns=delay,
                peak_rss_bytes=peak,
                read_bytes=read,
                written_bytes=written,
                read_call_bytes=read_calls,
                write_call_bytes=write_calls,
            )
        )
        return out

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

    def _remember_group(self, pid: int, group: str) -> None:
        if not group:
            return
        self._groups[pid] = group
        if group not in self._oom_kills and (memory := cgroup_memory(group)) is not None:
            self._oom_kills[group] = memory[2]

    def _key(self, pid: int) -> ProcessKey:
        found = self._keys.get(pid) or self._proc.key(pid)
        if found is not None and pid:
            self._keys.setdefault(pid, found)
        return found or NOBODY

    def _image(
        self,
        kind: type[Any],
        key: ProcessKey,
        *,
        parent: ProcessKey,
        image: Image,
        now: int,
        cpu: int,
    ) -> Event:
        return self._fact(
            kind,
            now,
            cpu,
            process=key,
            parent=parent,
            uid=image.uid,
            gid=image.gid,
            argc=len(image.argv),
            comm=image.comm,
            pid_namespace_pid=image.namespace_pid,
            executable=image.executable,
            working_directory=image.working_directory,
            memory_cgroup=image.memory_cgroup,
            argv=image.argv,
            environ=image.environ,
            stdin_inode=image.stdio[0],
            stdout_inode=image.stdio[1],
            stderr_inode=image.stdio[2],
        )

    def _fact(self, kind: type[Any], now: int, cpu: int, **fields: Any) -> Event:
        """A record. Fields without a value are zero or empty: this source does not know them."""
        self._sequence += 1
        found: Event = kind(
            **(
                _BLANK[kind]
                | {"time_boottime_ns": now, "sequence": self._sequence, "cpu": cpu}
                | fields
            )
        )
        return found

    # -- taskstats

    def _drain_stats(self) -> None:
        while self._stats is not None:
            try:
                data, sender = self._stats.recvfrom(_READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            found = accounting(data, wire.NLMSG.size + 4, wire.TYPE_AGGR_PID, wire.TYPE_STATS)
            if sender[0] or found is None or len(self._used) >= _USAGE_LIMIT:
                continue
            tgid, values = found
            old = self._used.get(tgid)
            # the peak belongs to the memory map, which all threads share; the other values add up
            self._used[tgid] = (
                values
                if old is None
                else (
                    *(a + b for a, b in zip(old[:4], values[:4], strict=True)),
                    max(old[4], values[4]),
                    *(a + b for a, b in zip(old[5:], values[5:], strict=True)),
                )
            )

    # -- socket diagnostics

    def _sockets(self, now: int) -> list[Event]:
        """Established connections of watched processes in our own network namespace."""
        owners = {inode: pid for pid in self._watched for inode in self._proc.socket_inodes(pid)}
        out: list[Event] = []
        if not owners:
            return out
        # in a thread of its own: pyroute2's sockets run an event loop, and this thread already runs
        # one
        with ThreadPoolExecutor(1, "sock_diag") as pool:
            entries = pool.submit(_connections).result()
        for family, entry in entries:
            pid = owners.get(entry["idiag_inode"])
            key = self._keys.get(pid) if pid is not None else None
            if key is None:
                continue
            high, low = _address(entry["idiag_dst"])
            out.append(
                self._fact(
                    Connection,
                    now,
                    0,
                    process=key,
                    connection_id=entry["idiag_inode"],
                    stage=ConnectionStage.SAMPLED,
                    established_boottime_ns=now if entry["idiag_state"] == 1 else 0,
                    state=entry["idiag_state"],
                    family=family,
                    peer_high=high,
                    peer_low=low,
                    peer_port=entry["idiag_dport"],
                    local_port=entry["idiag_sport"],
                    unacknowledged_bytes=entry["idiag_wqueue"],
                    unread_bytes=entry["idiag_rqueue"],
                )
            )
        return out


def _connections() -> list[tuple[int, Any]]:
    """Connections of this network namespace that are being opened or are open: the family and
    pyroute2's inet_diag_msg.
    """
    from pyroute2.netlink.diag import DiagSocket

    with DiagSocket() as diag:
        diag.bind()
        families = (socket.AF_INET, socket.AF_INET6)
        return [
            (int(f), entry)
            for f in families
            for entry in diag.get_sock_stats(family=f, states=1 << 1 | 1 << 2)
        ]


def _address(text: str) -> tuple[int, int]:
    if ":" in text:
        raw = socket.inet_pton(socket.AF_INET6, text)
        return int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")
    return 0, int.from_bytes(socket.inet_aton(text), "little")


def _blank(kind: type[Any]) -> dict[str, Any]:
    defaults: dict[Any, Any] = {int: 0, str: "", ProcessKey: NOBODY}
    return {field.name: defaults.get(field.type, ()) for field in msgspec.structs.fields(kind)}


_KIND: dict[type, int] = {
    Fork: EventKind.FORK,
    Exec: EventKind.EXEC,
    Title: EventKind.TITLE,
    Exit: EventKind.EXIT,
    OomKill: EventKind.OOM_KILL,
    Existing: EventKind.EXISTING,
    ProcessSample: EventKind.PROCESS_SAMPLE,
    Connection: EventKind.CONNECTION,
}
_BLANK = {kind: _blank(kind) for kind in _KIND}
