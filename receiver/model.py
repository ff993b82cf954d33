"""The values that layers above the kernel speak in."""

from __future__ import annotations

import msgspec

from receiver.events import ProcessKey

NOBODY = ProcessKey(0, 0)


class Host(msgspec.Struct, frozen=True):
    """Where and when the events come from; travels in a recording's header."""

    boot_id: str
    name: str
    session: str  # of this attachment: makes event ids unique within a boot
    page_bytes: int = 4096


class Identity(msgspec.Struct, frozen=True):
    """Whose work a process does. The first six fields are the identity; the rest says how we know."""

    system: str
    pipeline: str
    run_id: str
    task: str
    attempt: int = 1
    map_index: int = -1  # -1: not a mapped task
    type: str = "task"
    source: str = "env"
    confidence: float = 0.0
    evidence: str = ""  # names the fact, never a value that could be a secret

    @property
    def key(self) -> tuple[str, str, str, str, int, int]:
        return (self.system, self.pipeline, self.run_id, self.task, self.attempt, self.map_index)


class RemoteContext(msgspec.Struct, frozen=True):
    """A W3C trace context that an application handed to its children."""

    trace_id: bytes
    span_id: bytes
    sampled: bool
    trace_state: str = ""


class Finding(msgspec.Struct, frozen=True):
    """One thing that went wrong, with the kernel events that show it."""

    kind: str  # the event name
    process: ProcessKey
    time_boottime_ns: int
    sentence: str
    facts: tuple[tuple[str, str | int | float | bool], ...]
    severity: int
    evidence: tuple[str, ...]  # event ids
    origin: str = "kernel"
