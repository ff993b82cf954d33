"""The texts of evidence that was taken at a decisive moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from receiver.calls import call_name
from receiver.events import (
    EarlySample,
    Fault,
    MappingKind,
    MemoryRefused,
    MemoryWait,
    OomMember,
    OomMemory,
    SignalFlag,
    SignalState,
    ThreadedFork,
)
from receiver.text.names import error_name, mib, signal_name
from receiver.units import SECOND


def _oom_member(event: OomMember) -> str:
    held = f"{mib(event.anon_bytes)} anonymous, {mib(event.shmem_bytes)} shared"
    asked = f"{mib(event.private_bytes)} mapped privately"
    return f"held    {event.process.tgid} ({event.comm}) {held}, {asked}"


def _oom_memory(event: OomMemory) -> str:
    processes = f"{event.members} processes with {mib(event.anon_bytes)} anonymous"
    lists = f"{mib(event.file_list_bytes)} of files, {mib(event.kernel_bytes)} of the kernel"
    return f"full    {mib(event.usage_bytes)} of {mib(event.limit_bytes)}: {processes}, {lists}"


def _signal_state(event: SignalState) -> str:
    call = call_name(event.call_number) if event.call_number < 1 << 16 else ""
    doing = f"was in {call}" if call else "ran" if event.on_cpu else "was in no call"
    sender = f"{event.sender.tgid} ({event.sender_comm} of {event.parent_comm})"
    ignored = ", which it ignores" if event.state_flags & SignalFlag.IGNORED else ""
    target = f"{event.target.tgid} ({event.target_comm}) {doing} at"
    return f"target  {target} {signal_name(event.signal)} from {sender}{ignored}"


def _fault(event: Fault) -> str:
    kind = MappingKind(event.mapping_kind).name.lower()
    where = f"{event.path or kind} at {event.offset_bytes} of {event.size_bytes} bytes"
    return f"fault   {event.process.tgid} {signal_name(event.signal)} in {where}"


def _threaded_fork(event: ThreadedFork) -> str:
    return f"threads {event.parent.tgid} had {event.threads} when it forked {event.process.tgid}"


def _memory_refused(event: MemoryRefused) -> str:
    call, error = call_name(event.call_number), error_name(event.error)
    held = f"{mib(event.mapped_bytes)} in {event.mappings} mappings"
    return f"refused {event.process.tgid} {call} of {mib(event.asked_bytes)} {error}, with {held}"


def _memory_wait(event: MemoryWait) -> str:
    full = f"{mib(event.usage_bytes)} of {mib(event.limit_bytes)}"
    return f"stuck   {event.process.tgid} waits for memory, {full}, OOM killer off"


def _early_sample(event: EarlySample) -> str:
    held = mib(event.anon_bytes + event.file_bytes + event.shmem_bytes)
    return f"early   {event.process.tgid} {held}, {event.cpu_runtime_ns / SECOND:.2f} s of CPU"


MOMENTS: dict[type, Callable[[Any], str]] = {
    OomMember: _oom_member,
    OomMemory: _oom_memory,
    SignalState: _signal_state,
    Fault: _fault,
    EarlySample: _early_sample,
    ThreadedFork: _threaded_fork,
    MemoryRefused: _memory_refused,
    MemoryWait: _memory_wait,
}
