"""The row of one kernel event in the table `EVENTS` (receiver.observe.core)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import msgspec

from receiver.detect.findings import spec_of


class Kept(Enum):
    """What a recording of one command keeps of an event that is about another process."""

    WHOLE = auto()  # it has only numbers, and names of executables
    NAMED = auto()  # without arguments, environment, working directory and files
    WITHOUT_TITLE = auto()
    WITHOUT_GROUPS = auto()  # without the names of other commands' control groups
    OTHER_END = auto()  # only a connection whose other end is the command's
    NOTHING = auto()


class EventSpec(msgspec.Struct, frozen=True):
    """name: as in bpf/events.h; it counts the events. handle: applies one to the core. line: its text
    for people. kept: see `Kept`. findings: the kinds of findings that it can lead to, at once or in
    the check that follows once a second.
    """

    name: str
    handle: Callable[[Any, Any], object]
    line: Callable[[Any], str]
    kept: Kept = Kept.NOTHING
    findings: tuple[str, ...] = ()

    @property
    def key_fact(self) -> bool:
        """Whether a span can have it as an event."""
        return any(spec_of(kind).key_fact for kind in self.findings)

    @property
    def opens_incident(self) -> bool:
        """Whether it can start an investigation while its task still runs."""
        return any(spec_of(kind).opens_incident for kind in self.findings)
