"""What both sources share: their settings, and the form in which they deliver records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from receiver.constants import BULK_RING_BYTES, LIFECYCLE_RING_BYTES, UNWATCHED_RING_BYTES
from receiver.kernel.capture import KernelLimits

Batch = list[bytes]
Deliver = Callable[[Batch, int], None]  # records in order, and when they were read (boot time, ns)
RingBytes = Annotated[int, msgspec.Meta(ge=4096, le=1 << 30, description="a power of two")]


class SourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ring sizes are powers of two, in bytes.

    The interval is how long an event may wait in its ring, in seconds.
    """

    lifecycle_ring_bytes: RingBytes = LIFECYCLE_RING_BYTES
    unwatched_ring_bytes: RingBytes = UNWATCHED_RING_BYTES
    bulk_ring_bytes: RingBytes = BULK_RING_BYTES
    drain_interval_seconds: Annotated[float, msgspec.Meta(ge=0.005, le=5)] = 0.1
    sample_interval_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 1.0
    batch_records: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 2048
    source: Literal["auto", "ebpf", "netlink"] = "auto"  # auto: netlink where eBPF is refused
    # how system calls are hooked; auto: the cheaper way that this kernel has
    syscall_hook: Literal["auto", "fexit", "sys_exit"] = "auto"
    limits: KernelLimits = KernelLimits()
    # the kubelet's links, for the names of pods; no file in it is opened
    container_names: str = "/var/log/containers"
    # more variables that identify a task; a process that has one is watched from its exec on
    environment: tuple[str, ...] = ()
