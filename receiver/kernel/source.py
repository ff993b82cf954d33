"""The live source: delivers the records of the rings in batches, and the kernel's part of the loss
account.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from receiver.constants import LOSSES_BY_USER, MARK_ASKED, MARK_WATCHED
from receiver.events import _LEDGER as LEDGER_LAYOUT
from receiver.events import (
    EventKind,
    FilterReason,
    Ledger,
    ProcessKey,
    decode_ledger,
)
from receiver.kernel.bpf_object import Ring
from receiver.kernel.callhooks import Attach, CallHooks
from receiver.kernel.capture import Capture
from receiver.kernel.clock import boottime_ns
from receiver.kernel.confinement import Confinement
from receiver.kernel.decode import order, split
from receiver.kernel.hooks import Coverage
from receiver.kernel.interpreters import Interpreters
from receiver.kernel.probes import Probes
from receiver.kernel.recursion import with_recursion
from receiver.kernel.source_config import Batch, Deliver, SourceConfig

USER_LOSS = struct.Struct("<QII")  # struct user_loss, bpf/maps.bpf.h
RINGS = ("lifecycle_ring", "unwatched_ring", "bulk_ring")  # in reading order


class LiveSource:
    """Attaches on construction.

    Single-threaded: everything runs on the event loop, at most one batch at a time.
    """

    name = "ebpf"

    def __init__(
        self,
        config: SourceConfig,
        capture: Capture,
        *,
        attach: Attach = "ourselves",
        launched: bool = False,
        confinement: Confinement | None = None,
    ) -> None:
        """`attach`: which process attaches the system-call hooks.

        `ourselves`: this process, with its privileges at that time. `either`: this process will
        have none, so a helper in the given confinement attaches if the kernel wants privileges.
        `launched`: the parent is the launcher of `kwitness run`, which starts the command and
        appears in no record.
        """
        self.config = config
        self._probes = Probes(
            lifecycle_bytes=config.lifecycle_ring_bytes,
            unwatched_bytes=config.unwatched_ring_bytes,
            bulk_bytes=config.bulk_ring_bytes,
            capture=capture.with_binding(config.environment),
            limits=config.limits,
            syscall_hook=config.syscall_hook,
            launched=launched,
        )
        library = self._probes.library
        self._cpus = library.possible_cpus()
        self._rings: list[Ring] = []
        self._hooks: CallHooks | None = None
        self._late: dict[
            int, None
        ] = {}  # pids; bounded by the number of pids; followed as soon as the hooks are attached
        self.on_late: Callable[[list[int]], None] = lambda _: None
        self._pythons = Interpreters(self._probes.object.update)
        self._marks: Any = None  # one byte per pid, shared with the kernel
        try:
            self._rings = [Ring(library, self._probes.object.map_fd(name)) for name in RINGS]
            self._marks = self._probes.object.memory("watch_marks")
            self._probes.attach()
            self._hooks = CallHooks(self._probes, attach, confinement)
            self._hooks.on_attached = self._followed
        except BaseException:
            self.close()
            raise
        self.read_until_ns = 0  # all records submitted before this time have been read

    @property
    def hooks(self) -> CallHooks:
        """The system-call hooks."""
        assert self._hooks is not None
        return self._hooks

    @property
    def namespace(self) -> int:
        """The pid namespace, when it is not the host's: only its processes are reported."""
        return self._probes.namespace

    @property
    def own_tgid(self) -> int:
        """This process's pid as events name it."""
        return self._probes.own_tgid

    @property
    def starter_tgid(self) -> int:
        """The pid, as events name it, of the process that starts commands: the launcher's, or this
        process's without one.
        """
        return self._probes.launcher_tgid or self._probes.own_tgid

    @property
    def following(self) -> bool:
        """Whether system calls are hooked at this moment."""
        return self.hooks.attached

    def watch(self, keys: Iterable[ProcessKey]) -> None:
        """Follows the system calls of these processes and of their children from now on.

        The first one attaches the hooks. `on_late` is called with the processes whose first calls
        were missed. A process that has ended is not watched, nor is the next one with its pid: the
        kernel half compares the start time at the first use of a mark.
        """
        for key in keys:
            if key.tgid < len(self._marks):
                mark = self._marks[key.tgid]
                if not (mark and self.following):
                    self._late[key.tgid] = None
                if mark != MARK_WATCHED:
                    self._probes.ask_mark(key)
                    self._marks[key.tgid] = MARK_ASKED
        self._want_hooks()

    def _want_hooks(self) -> None:
        if not self.hooks.wanted:
            self.hooks.want(True)
        elif self.following:
            self._followed()

    def _followed(self) -> None:
        late, self._late = list(self._late), {}
        if late:
            self.on_late(late)

    def unwatch(self) -> None:
        """Watches nothing any more: no system call of the host is hooked."""
        if self.hooks.wanted:
            self.hooks.want(False)

    @contextlib.contextmanager
    def watching_self(self) -> Iterator[None]:
        """Children that this process or the launcher forks inside are watched from their start."""
        # this process and its launcher live while they are marked: no start time is compared
        if not self.following:
            self._late[self.starter_tgid] = None
        self._marks[self.starter_tgid] = MARK_WATCHED
        self._want_hooks()
        try:
            yield
        finally:
            self._marks[self.starter_tgid] = 0

    def coverage(self) -> list[Coverage]:
        return self._probes.coverage()

    def existing(self) -> Batch:
        """The living processes.

        Read after attaching: a process that starts in the meantime appears twice, but is never
        missed.
        """
        return self._pythons.readable(split(self._probes.existing()), boottime_ns())

    def sample(self) -> Batch:
        """Samples of the watched processes now, in order of time; empty when none is watched."""
        if not self.following:
            return []
        return sorted(split(self._probes.sample()), key=order)

    def early_sample(self) -> Batch:
        """Looks at watched processes that began a moment ago; empty when there is none."""
        raw = self._probes.early_sample(boottime_ns()) if self.following else b""
        return sorted(split(raw), key=order)

    def canary(self) -> bool:
        """Renames this thread, which a working hook must see: its count of skipped own events
        grows.
        """
        before = self.ledger().filtered[EventKind.TITLE][FilterReason.SELF]
        self._probes.library.rename_self(b"kwitness")
        return self.ledger().filtered[EventKind.TITLE][FilterReason.SELF] > before

    def ledger(self) -> Ledger:
        raw = self._probes.object.lookup(
            "ledgers", struct.pack("<I", 0), self._cpus * LEDGER_LAYOUT.size
        )
        return with_recursion(decode_ledger(raw), self._probes.recursion_misses())

    def user_losses(self) -> dict[tuple[int, int, int], int]:
        """The losses of users whose share was used up, by (user, kind, reason).

        They are in the ledger, too. At most LOSSES_BY_USER rows.
        """
        rows = self._probes.object.rows("user_losses", USER_LOSS.size, 8, LOSSES_BY_USER)
        return {USER_LOSS.unpack(key): int.from_bytes(count, "little") for key, count in rows}

    def drain(self) -> tuple[Batch, bool]:
        """Delivers one batch in order of time. True when more is waiting.

        The record that explains another one is in a ring that is read later: the fork of a process
        that is watched afterwards, or a file that was open at an exit. So both are in one batch,
        unless a ring holds more than a batch.
        """
        batch: Batch = []
        more, began = False, boottime_ns()
        for ring in self._rings:
            more |= ring.drain(batch.append, self.config.batch_records)
        batch = self._pythons.readable(batch, began)
        batch.sort(key=order)
        if not more:
            self.read_until_ns = began
        return batch, more

    async def pump(self, deliver: Deliver, stop: asyncio.Event) -> None:
        """Delivers until `stop` is set, then delivers the rest.

        Wakes on the interval, and at once for urgent kinds.
        """
        loop = asyncio.get_running_loop()
        wake = asyncio.Event()
        for ring in self._rings:
            loop.add_reader(ring.epoll_fd, wake.set)
        helper = self.hooks.helper
        if helper is not None:
            loop.add_reader(helper.fileno(), wake.set)
        watcher = asyncio.ensure_future(stop.wait())
        watcher.add_done_callback(lambda _: wake.set())
        try:
            while True:
                stopping = stop.is_set()
                wake.clear()
                if helper is not None:
                    self.hooks.poll()
                    if helper.closed or self.hooks.helper is None:
                        loop.remove_reader(helper.fileno())  # it would be readable for ever
                    if self.hooks.helper is None:
                        helper = None
                batch, more = self.drain()
                if batch:
                    deliver(batch, boottime_ns())
                if more:
                    await asyncio.sleep(0)  # other tasks run between batches
                    continue
                if stopping:
                    return
                try:
                    async with asyncio.timeout(self.config.drain_interval_seconds):
                        await wake.wait()
                except TimeoutError:
                    pass
        finally:
            watcher.cancel()
            for ring in self._rings:
                loop.remove_reader(ring.epoll_fd)
            if helper is not None:
                loop.remove_reader(helper.fileno())

    def detach(self) -> None:
        """Accepts no new events. The rings can still be read."""
        self.hooks.close()
        self._probes.object.detach()

    def close(self) -> None:
        for ring in self._rings:
            ring.close()
        self._rings = []
        if self._hooks is not None:
            self._hooks.close()
        if self._marks is not None:
            self._marks.close()
        self._probes.close()
