"""The one who tells a story: every step is wire bytes, so that the whole core is under test."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Self

import msgspec

from receiver.detect.findings import FINDINGS
from receiver.events import WIRE_HASHES, Event, ProcessKey, encode
from receiver.model import NOBODY, CoreOptions, Finding, Host
from receiver.observe.core import Core
from receiver.observe.events import EVENTS
from receiver.observe.recorder import Recorder
from receiver.observe.recording import Header, Settings
from receiver.observe.recording_scope import CommandScope
from receiver.observe.session import Session
from receiver.signals import LogRecord, Span

HOST = Host("00000000-0000-4000-8000-000000000001", "testhost", "5e55104e5e55")
WALL_OFFSET_NS = 1_700_000_000_000_000_000
MS = 1_000_000
SELF = ProcessKey(7, 1)


@cache
def blank(kind: type[Event]) -> dict[str, Any]:
    """Zero or nothing for every field but those that `say` fills."""
    found = {
        f.name: {int: 0, str: "", ProcessKey: NOBODY}.get(f.type, ())
        for f in msgspec.structs.fields(kind)
    }
    return {
        name: value
        for name, value in found.items()
        if name not in ("time_boottime_ns", "sequence", "cpu")
    }


def _evicted(core: Core) -> int:
    return core.tree.drops["evicted_live"] + core.tree.drops["evicted_dead"]


class Teller:
    """A clock that moves 1 ms a step, pids that count up, and a core that listens."""

    def __init__(self, options: CoreOptions | None = None, **core: Any) -> None:
        """`core`: further arguments of the core."""
        self.core = Core(HOST, options, **core)
        self.core.set_wall_offset(WALL_OFFSET_NS)
        self.recorder: Recorder | None = None
        self._session = Session(self.core)
        self.now = 1_000 * MS
        self.sequence = 0
        self.next_pid = 1000
        self.records: list[bytes] = []
        self.findings: list[Finding] = []
        self.next_open = 0
        self.opened: dict[tuple[int, int], dict[str, Any]] = {}
        self._signals: list[Span | LogRecord] = []

    @classmethod
    def recorded(cls, path: Path, settings: Settings, scope: CommandScope | None = None) -> Self:
        """One whose inputs are recorded."""
        story = cls()
        story.core = Core(HOST, settings.options, settings.rules)
        holds = "host" if scope is None else "command"
        header = Header(WIRE_HASHES, HOST, WALL_OFFSET_NS, holds, settings)
        story.recorder = Recorder(path.open("wb"), header, scope)
        story._session = Session(story.core, story.recorder)
        story.session.wall_offset(WALL_OFFSET_NS, story.now)
        return story

    @property
    def session(self) -> Session:
        if self._session.core is not self.core:  # a test has replaced it
            self._session = Session(self.core)
        return self._session

    def step(self, ms: float = 1) -> None:
        self.now += int(ms * MS)

    def say(self, kind: type[Event], **fields: Any) -> None:
        """One record, fed at once."""
        self.step()
        self.sequence += 1
        event = kind(time_boottime_ns=self.now, sequence=self.sequence, cpu=0, **fields)
        raw = encode(event)
        self.records.append(raw)
        evicted = _evicted(self.core)
        self.session.batch([raw], self.now + MS)
        emitted = self.core.take()
        found = {s.event_name for s in emitted if isinstance(s, LogRecord)} & FINDINGS.keys()
        missing = found - set(EVENTS[kind].findings)
        # a tree that is full ends the story of another process, with what that one waited for
        missing = missing if evicted == _evicted(self.core) else set()
        assert not missing, f"the row of {kind.__name__} in EVENTS does not name {missing}"
        self._signals += emitted

    def fact(self, kind: type[Event], key: ProcessKey, **fields: Any) -> None:
        """One record of any kind; what is not named is zero or empty."""
        self.say(kind, **(blank(kind) | {"process": key} | fields))

    def tick(self, seconds: float = 1.0) -> None:
        self.step(seconds * 1000)
        self.session.tick(self.now)
        self._signals += self.core.take()

    def finish(self) -> None:
        self.session.finish(self.now)
        self._signals += self.core.take()

    @property
    def signals(self) -> list[Span | LogRecord]:
        return self._signals

    @property
    def spans(self) -> list[Span]:
        return [s for s in self._signals if isinstance(s, Span)]

    @property
    def logs(self) -> list[LogRecord]:
        return [s for s in self._signals if isinstance(s, LogRecord)]

    def events(self, name: str) -> list[LogRecord]:
        return [r for r in self.logs if r.event_name == name]

    def span(self, name: str) -> Span:
        found = [s for s in self.spans if s.name == name]
        assert len(found) == 1, f"{len(found)} spans named {name}"
        return found[0]
