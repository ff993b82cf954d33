"""The live source: rings to batches of bytes, and the kernel's side of the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec

from receiver.events import _LEDGER as LEDGER_LAYOUT
from receiver.events import EventKind, FilterReason, Ledger, decode_ledger
from receiver.kernel.callhooks import Attach, CallHooks
from receiver.kernel.clock import boottime_ns
from receiver.kernel.confinement import Confinement
from receiver.kernel.decode import order, split
from receiver.kernel.libbpf import Ring
from receiver.kernel.probes import Coverage, KernelLimits, Probes

RingBytes = Annotated[int, msgspec.Meta(ge=4096, le=1 << 30, description="a power of two")]


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ring sizes are powers of two, in bytes; the interval is how long an event may wait in its ring, in seconds."""

    lifecycle_ring_bytes: RingBytes = 4 << 20
    unwatched_ring_bytes: RingBytes = 2 << 20
    bulk_ring_bytes: RingBytes = 1 << 20
    drain_interval_seconds: Annotated[float, msgspec.Meta(ge=0.005, le=5)] = 0.1
    sample_interval_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 1.0
    batch_records: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 2048
    source: Literal["auto", "ebpf", "netlink"] = "auto"  # auto: netlink where eBPF is refused
    door: Literal["auto", "fexit", "sys_exit"] = (
        "auto"  # how system calls are seen; auto: the cheaper one that there is
    )
    limits: KernelLimits = KernelLimits()
    container_names: str = (
        "/var/log/containers"  # the kubelet's links, for names of pods; nothing in it is opened
    )
    environment: tuple[
        str, ...
    ] = ()  # further variables that name work; what has one is watched from its exec on


RINGS = ("lifecycle_ring", "unwatched_ring", "bulk_ring")  # in the order in which they are read

Batch = list[bytes]
Deliver = Callable[[Batch, int], None]  # records in order, and when they were read (boot time, ns)


class LiveSource:
    """Attaches on construction. Single-threaded: everything runs on the event loop, in slices of at most one batch."""

    name = "ebpf"

    def __init__(
        self,
        config: SourceConfig,
        *,
        attach: Attach = "ourselves",
        launched: bool = False,
        confinement: Confinement | None = None,
    ) -> None:
        """`attach`: who attaches the hooks for system calls. `ourselves`: with the privileges that we have then; `either`: we
        shall have none, so a helper does where the kernel wants some, in the given confinement. `launched`: our parent is the
        launcher of `kwitness run`: it starts the command, and is no subject of any record."""
        self.config = config
        self._probes = Probes(
            lifecycle_bytes=config.lifecycle_ring_bytes,
            unwatched_bytes=config.unwatched_ring_bytes,
            bulk_bytes=config.bulk_ring_bytes,
            limits=config.limits,
            door=config.door,
            binding=config.environment,
            launched=launched,
        )
        library = self._probes.library
        self._cpus = library.possible_cpus()
        self._rings: list[Ring] = []
        self._hooks: CallHooks | None = None
        self._late: dict[
            int, None
        ] = {}  # pids, bounded by their number: followed as soon as the hooks are attached
        self.on_late: Callable[[list[int]], None] = lambda _: None
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
        self.attached_at_ns = boottime_ns()
        self.read_until_ns = 0  # every record that was submitted before has been read

    @property
    def hooks(self) -> CallHooks:
        """Those for system calls."""
        assert self._hooks is not None
        return self._hooks

    @property
    def namespace(self) -> int:
        """Of pids, when it is not the host's: only what lives in it is ours to tell."""
        return self._probes.namespace

    @property
    def own_tgid(self) -> int:
        """Ours, as events name it."""
        return self._probes.own_tgid

    @property
    def starter_tgid(self) -> int:
        """Of the process that starts commands, as events name it: the launcher's, or ours when there is none."""
        return self._probes.launcher_tgid or self._probes.own_tgid

    @property
    def following(self) -> bool:
        """Whether system calls are hooked now."""
        return self.hooks.attached

    def watch(self, pids: Iterable[int]) -> None:
        """From now on the system calls of these processes, and of what they fork, are followed. Attaches when it is the first.
        `on_late` is told of those whose first calls were not seen."""
        for pid in pids:
            if pid < len(self._marks):
                if not (self._marks[pid] and self.following):
                    self._late[pid] = None
                self._marks[pid] = 1
        if not self.hooks.wanted:
            self.hooks.want(True)
        elif self.following:
            self._followed()

    def _followed(self) -> None:
        late, self._late = list(self._late), {}
        if late:
            self.on_late(late)

    def unwatch(self) -> None:
        """Nothing is watched any more: every system call of the host is its own business again."""
        if self.hooks.wanted:
            self.hooks.want(False)

    @contextlib.contextmanager
    def watching_self(self) -> Iterator[None]:
        """Children that we (or the launcher) fork inside are watched from their first instruction."""
        self.watch([self.starter_tgid])
        try:
            yield
        finally:
            self._marks[self.starter_tgid] = 0

    def coverage(self) -> list[Coverage]:
        return self._probes.coverage()

    def existing(self) -> Batch:
        """Processes that live now. Read after attaching: a process that starts meanwhile comes twice, never not at all."""
        return split(self._probes.existing())

    def sample(self) -> Batch:
        """What watched processes are at this moment, in order of time; nothing when none is watched."""
        if not self.following:
            return []
        return sorted(split(self._probes.sample()), key=order)

    def canary(self) -> bool:
        """Renames our own thread, which a living hook must see: its count of skipped own events grows."""
        before = self.ledger().filtered[EventKind.TITLE][FilterReason.SELF]
        self._probes.library.rename_self(b"kwitness")
        return self.ledger().filtered[EventKind.TITLE][FilterReason.SELF] > before

    def ledger(self) -> Ledger:
        raw = self._probes.object.lookup(
            "ledgers", struct.pack("<I", 0), self._cpus * LEDGER_LAYOUT.size
        )
        return decode_ledger(raw)

    def drain(self) -> tuple[Batch, bool]:
        """One batch, in order of time; True when more is waiting.

        What explains a record stands in a ring that is read after its own: the fork of a process that is watched later, a file
        that was open at an exit. So both are in one batch, unless a ring holds more than a batch.
        """
        batch: Batch = []
        more, began = False, boottime_ns()
        for ring in self._rings:
            more |= ring.drain(batch.append, self.config.batch_records)
        batch.sort(key=order)
        if not more:
            self.read_until_ns = began
        return batch, more

    async def pump(self, deliver: Deliver, stop: asyncio.Event) -> None:
        """Delivers until `stop` is set, then what is left. Wakes on the interval, and at once for urgent kinds."""
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
                    if self.hooks.helper is None:
                        loop.remove_reader(helper.fileno())
                        helper = None
                batch, more = self.drain()
                if batch:
                    deliver(batch, boottime_ns())
                if more:
                    await asyncio.sleep(0)  # others get their turn between batches
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
        """No new events; the rings can still be drained."""
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


__all__ = ["Batch", "Deliver", "LiveSource", "SourceConfig"]
