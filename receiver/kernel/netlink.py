"""The fallback without eBPF.

The process connector reports fork, exec, comm and exit. taskstats gives the resources that an
exited task had used. The cgroup's own counters give OOM kills. Polled /proc and socket diagnostics
give samples.

It emits the same records as the BPF half, so the layers above are the same; `coverage` lists what
it cannot see. Details of a process are read from /proc a moment later: of a process that lives less
than that, only the exit is known.

    netlink            this module: the source
    netlink_processes  messages and /proc to records
    netlink_records    records with the fields that this source knows
    netlink_coverage   what this source sees, and what not
    netlink_sockets    pyroute2's sockets, read without waiting
    netlink_messages   pyroute2's messages
    netlink_pyroute2   the parts of pyroute2 that are imported

Only `choose` imports this module, and only when the fallback is chosen.

Sources: linux/Documentation/accounting/taskstats.rst, include/uapi/linux/{cn_proc,taskstats}.h,
netlink(7), sock_diag(7).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator

from receiver.errors import NamespaceError
from receiver.events import (
    KINDS,
    Event,
    EventKind,
    FilterReason,
    Ledger,
    LossReason,
    ProcessKey,
    encode,
)
from receiver.kernel.capture import Capture
from receiver.kernel.clock import boottime_ns
from receiver.kernel.decode import order
from receiver.kernel.hooks import Coverage
from receiver.kernel.netlink_coverage import coverage
from receiver.kernel.netlink_messages import usage
from receiver.kernel.netlink_processes import Processes
from receiver.kernel.netlink_records import KINDS_MADE
from receiver.kernel.netlink_sockets import Accounting, Connector, Diagnosis
from receiver.kernel.preflight import own_pid_namespace
from receiver.kernel.proc import ProcFs
from receiver.kernel.source_config import Batch, Deliver, SourceConfig

_ACCOUNTING_DATAGRAMS = 16_384  # read at a time; the socket holds about as many


class NetlinkSource:
    """As `LiveSource`, by other means. Single-threaded: everything runs on the event loop."""

    name = "netlink"
    namespace = 0  # it reports the host's pids only

    def __init__(
        self,
        config: SourceConfig,
        capture: Capture,
        *,
        launched: bool = False,
        drops: bool = False,
    ) -> None:
        """`launched`: see `LiveSource`. `drops`: see `Observer`.

        Without privileges the kernel refuses a part of /proc, and `coverage` says so.
        """
        if own_pid_namespace():
            raise NamespaceError(
                "netlink reports the host's pids, and this is another pid namespace: start the "
                "container with --pid=host"
            )
        self.own_tgid = os.getpid()
        self.starter_tgid = os.getppid() if launched else self.own_tgid
        self.config = config
        self._counts = [0] * KINDS
        self._lost = [0] * KINDS  # values that no record can hold, and resources without room
        # the connector stamps events with the monotonic clock
        offset = boottime_ns() - time.monotonic_ns()
        allowed = capture.with_binding(config.environment).allow_list()
        self.processes = Processes(
            ProcFs(allowed), (self.own_tgid, self.starter_tgid), offset, self._drain_accounting
        )
        self._connector = Connector()
        self._accounting: Accounting | None = None
        with contextlib.suppress(OSError):
            self._accounting = Accounting()
        self._drops = drops
        self.hooks = None  # this source has no system-call hooks, and `coverage` says so
        self.on_late: Callable[[list[int]], None] = lambda _: None
        self.read_until_ns = 0  # all events sent before this time have been read

    def coverage(self) -> list[Coverage]:
        return coverage(taskstats=self._accounting is not None, drops=self._drops)

    # -- the interface of LiveSource

    @property
    def following(self) -> bool:
        return bool(self.processes.watched)

    def watch(self, keys: Iterable[ProcessKey]) -> None:
        """These processes are sampled once a second; children follow at their fork."""
        self.processes.watched.update(key.tgid for key in keys)

    def unwatch(self) -> None:
        self.processes.watched.clear()

    @contextlib.contextmanager
    def watching_self(self) -> Iterator[None]:
        self.processes.watched.add(self.starter_tgid)
        yield
        # fork events may still wait in the socket: the core watches each process that joins an
        # execution
        self.processes.watched.discard(self.starter_tgid)

    def canary(self) -> bool:
        """The connector sends no event of this process to wait for, so this only checks that the
        socket is open.
        """
        return bool(self._connector.fileno() >= 0)

    def user_losses(self) -> dict[tuple[int, int, int], int]:
        """None: this source has no shares."""
        return {}

    def ledger(self) -> Ledger:
        """Seen and submitted are the same here.

        The socket reports an overflow without kind or number, so each counts as one fork. What is
        lost of taskstats counts as a sample.
        """
        filtered = [[0] * len(FilterReason) for _ in range(KINDS)]
        filtered[EventKind.EXEC][FilterReason.SELF] = self.processes.filtered_self
        lost = [[0] * len(LossReason) for _ in range(KINDS)]
        for kind, count in enumerate(self._lost):
            lost[kind][LossReason.RING_FULL] = count
        lost[EventKind.FORK][LossReason.RING_FULL] += self._connector.lost + self.processes.lost
        if self._accounting:
            lost[EventKind.PROCESS_SAMPLE][LossReason.RING_FULL] += self._accounting.lost
        seen = tuple(
            n + sum(f) + sum(x) for n, f, x in zip(self._counts, filtered, lost, strict=True)
        )
        return Ledger(
            seen, tuple(self._counts), tuple(map(tuple, filtered)), tuple(map(tuple, lost))
        )

    def existing(self) -> Batch:
        return [encode(event) for event in self.processes.existing(boottime_ns)]

    def drain(self) -> tuple[Batch, bool]:
        """One batch in order of time. True when more may be waiting."""
        self._drain_accounting()
        events: list[Event] = []
        more, began = False, boottime_ns()
        while (messages := self._connector.receive()) is not None:
            for message in messages:
                events += self.processes.events(message)
            if len(events) >= self.config.batch_records:
                more = True
                break
        if not more:
            self.read_until_ns = began
        return sorted(self._counted(events), key=order), more

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

    def early_sample(self) -> Batch:
        """This source has no further looks at young processes."""
        return []

    def sample(self) -> Batch:
        """Of the watched processes and their connections, in our own network namespace."""
        self._drain_accounting()
        now = boottime_ns()
        events = self.processes.samples(now)
        owners = self.processes.sockets()
        if owners:
            with contextlib.suppress(OSError), Diagnosis(owners.__contains__) as diagnosis:
                events += self.processes.connections(owners, diagnosis.connections(), now)
        return self._counted(events)

    def detach(self) -> None:
        """Accepts no new events; those that wait can still be read."""
        self._connector.ignore()

    def close(self) -> None:
        self._connector.close()
        if self._accounting is not None:
            self._accounting.close()

    def _counted(self, events: list[Event]) -> Batch:
        """As records, and in the ledger."""
        out: Batch = []
        for event in events:
            kind = KINDS_MADE[type(event)]
            try:
                out.append(encode(event))
            except struct.error:
                self._lost[kind] += 1
                continue
            self._counts[kind] += 1
        return out

    def _drain_accounting(self) -> None:
        """The resources of ended threads."""
        if self._accounting is None:
            return
        for _ in range(_ACCOUNTING_DATAGRAMS):
            if (messages := self._accounting.receive()) is None:
                return
            for message in messages:
                found = usage(message)
                if found is None or not self.processes.used(*found):
                    self._lost[EventKind.PROCESS_SAMPLE] += 1
