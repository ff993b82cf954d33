"""A kernel event in one file: its record, and one row in each of the tables.

The record stands for what `make generate` makes from a struct in bpf/events.h.
"""

from __future__ import annotations

import struct

import msgspec
import pytest

from receiver import events
from receiver.detect.findings import FINDINGS, FindingSpec
from receiver.events import DECODERS, VALID, Event, ProcessKey
from receiver.insights.runs import is_kept
from receiver.investigate.evidence import fact
from receiver.kernel.decode import decode
from receiver.model import Finding, Watch, about
from receiver.observe.events import EVENTS, EventSpec, Kept
from receiver.observe.handlers import Handlers
from receiver.observe.recording_scope import CommandScope
from receiver.signals import Severity
from receiver.text.event_text import LINES, event_line
from receiver.text.names import event_id, kind_name
from receiver.text.redact import Redactor
from tests.builders import SELF, Story

KIND, FROZEN = 60_000, "test.disk.frozen"
LAYOUT = struct.Struct("<QQIHHIIQ16s")  # struct event_header, the process, the disk's name


class DiskFrozen(msgspec.Struct, frozen=True):
    time_boottime_ns: int
    sequence: int
    cpu: int
    process: ProcessKey
    disk: str


def parse(raw: bytes, _: Redactor) -> DiskFrozen:
    time, sequence, _, cpu, _, tgid, _, start, disk = LAYOUT.unpack(raw)
    return DiskFrozen(time, sequence, cpu, ProcessKey(tgid, start), disk.rstrip(b"\0").decode())


def record(at_ns: int, process: ProcessKey) -> bytes:
    start = process.start_boottime_ns
    return LAYOUT.pack(at_ns, 77, LAYOUT.size, 0, KIND, process.tgid, 0, start, b"sda")


def handle(on: Handlers, event: DiskFrozen) -> None:
    found = Finding(
        kind=FROZEN,
        process=event.process,
        time_boottime_ns=event.time_boottime_ns,
        sentence=f"The disk {event.disk} was frozen.",
        facts=(),
        severity=Severity.ERROR,
        evidence=(f"{event.cpu}-{event.sequence}",),
    )
    on.report(on.tree.ensure(event.process, ""), found)


def line(event: DiskFrozen) -> str:
    return f"frozen  {event.process.tgid} {event.disk}"


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DECODERS, KIND, parse)
    monkeypatch.setitem(VALID, KIND, lambda _: True)
    monkeypatch.setitem(LINES, DiskFrozen, line)
    row = EventSpec("disk_frozen", handle, line, Kept.WHOLE, (FROZEN,))
    monkeypatch.setitem(EVENTS, DiskFrozen, row)
    spec = FindingSpec(symptom="frozen", opens_incident=True)
    monkeypatch.setitem(FINDINGS, FROZEN, spec)


@pytest.fixture
def story() -> Story:
    return Story()


def freeze(story: Story, process: ProcessKey) -> Event:
    story.step()
    raw = record(story.now, process)
    story.core.feed([raw], story.now)
    story._signals += story.core.take()
    return decode(raw, Redactor("off"))


def test_it_is_decoded_counted_and_handled(story: Story) -> None:
    freeze(story, story.task("load"))
    assert story.core.counts["disk_frozen"] == 1 and not story.core.decode_errors
    assert [str(r.body) for r in story.events(FROZEN)] == ["The disk sda was frozen."]


def test_its_text_is_in_the_list_of_events_and_in_evidence(story: Story) -> None:
    event = freeze(story, story.task("load"))
    assert event_line(event, "12:00") == f"12:00 frozen  {about(event).tgid} sda"
    shown = fact(event)
    assert (shown.kind, shown.id) == ("disk_frozen", event_id(event))
    assert shown.text.endswith(" sda")


def test_it_is_a_key_fact_of_the_task(story: Story) -> None:
    task = story.task("load")
    freeze(story, task)
    story.exit(task, 1)
    story.finish()
    assert FROZEN in {event.name for event in story.span("task load").events}


def test_it_opens_an_incident_while_the_task_runs(story: Story) -> None:
    task = story.task("load")
    assert not story.core.incidents.waiting
    freeze(story, task)
    assert story.core.incidents.waiting


def test_other_hosts_keep_its_record() -> None:
    assert is_kept(FROZEN, Severity.INFO)


def test_the_recording_of_another_command_keeps_it(story: Story) -> None:
    scope = CommandScope()
    scope.watch(Watch(1, 2, "job"))
    event = freeze(story, SELF)
    assert scope.keep(event) is event


def test_the_row_names_what_its_findings_are_for() -> None:
    row = EVENTS[DiskFrozen]
    assert (row.key_fact, row.opens_incident) == (True, True)
    assert (EVENTS[events.Title].key_fact, EVENTS[events.Title].opens_incident) == (False, False)


def test_the_tables_have_a_row_for_each_kind() -> None:
    kinds = {type_ for type_ in EVENTS if type_ is not DiskFrozen}
    assert kinds == set(events._ENCODERS)
    assert EVENTS.keys() == LINES.keys()
    assert all(row.name == kind_name(kind) for kind, row in EVENTS.items())
    assert all(row.line is LINES[kind] for kind, row in EVENTS.items())
    named = {kind.name.lower() for kind in events.EventKind if kind}
    assert {EVENTS[kind].name for kind in kinds} == named
