"""Recordings: what goes in comes out, what must not go in does not, and what is damaged is refused
in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.errors import DataError
from receiver.events import (
    WIRE_HASHES,
    CallFailed,
    Connection,
    ConnectionFlag,
    Event,
    Exec,
    Existing,
    Exit,
    FileOpened,
    Fork,
    NameQuery,
    OomKill,
    ProcessKey,
    Signal,
    Title,
)
from receiver.export import encode
from receiver.kernel.decode import decode, split
from receiver.model import NOBODY, Blind, ContainerName, CoreOptions, Watch
from receiver.observe.core import Core
from receiver.observe.recorder import Recorder
from receiver.observe.recording import (
    COMMAND_CONTENTS,
    HOST_CONTENTS,
    MAGIC,
    FrameKind,
    Header,
    Recording,
)
from receiver.observe.recording_scope import CommandScope
from receiver.observe.replay import replay
from receiver.observe.session import Session
from receiver.signals import LogRecord, Span
from receiver.text.redact import Redactor
from tests.builders import HOST, SELF, WALL_OFFSET_NS, Story, airflow


def record(path: Path) -> list[LogRecord | Span]:
    """A live session with a recorder, every kind of frame in it; gives what the core made."""
    story = Story()
    root = story.command("psql", "--password=hunter2")
    child = story.spawn(root, "python3", environ=airflow())
    story.oom(child)
    story.exit(child, signal=9)
    story.exit(root, 0)
    core = Core(HOST)
    session = Session(core, Recorder(path.open("wb"), Header(WIRE_HASHES, HOST, WALL_OFFSET_NS)))
    core.set_wall_offset(WALL_OFFSET_NS)
    session.watch(Watch(root.tgid, SELF.tgid, "job"), 1)
    session.batch(story.records[:5], 2_000_000_000)
    session.wall_offset(WALL_OFFSET_NS + 5, 2_100_000_000)
    session.losses({("exec", "ring_full"): 3}, 2_200_000_000)
    session.tick(2_300_000_000)
    session.batch(story.records[5:], 2_400_000_000)
    session.vanished([child], 2_500_000_000)
    session.blind(
        [Blind("interrupted", 2_300_000_000, 2_400_000_000, why="the helper was killed")],
        2_600_000_000,
    )
    session.finish(9_000_000_000)
    assert session._recorder
    session._recorder.close()
    return core.take()


def replayed(path: Path) -> list[LogRecord | Span]:
    recording = Recording(path)
    core = Core(recording.header.host)
    replay(Session(core), recording)
    return core.take()


def shape(signals: list[LogRecord | Span]) -> list[object]:
    return [
        (
            s.attributes,
            tuple(b.items for b in s.shared),
            s.trace_id,
            s.span_id,
            getattr(s, "time_ns", 0),
        )
        for s in signals
    ]


def test_a_replay_makes_the_same_signals(tmp_path: Path) -> None:
    live = record(tmp_path / "x.kw")
    assert shape(replayed(tmp_path / "x.kw")) == shape(live)
    assert len(live) > 8


def test_no_secret_is_written(tmp_path: Path) -> None:
    record(tmp_path / "x.kw")
    assert b"hunter2" not in (tmp_path / "x.kw").read_bytes()


def _header(offset: bytes, host: bytes = b"") -> bytes:
    return (
        MAGIC
        + b'{"wires":{},"host":{"boot_id":"","name":"","session":""'
        + host
        + b"},"
        + offset
        + b"}\n"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a kwitness recording"),
        (b"PK\x03\x04 something\n", "not a kwitness recording"),
        (MAGIC, "header is damaged"),
        (MAGIC + b"{}\n", "header is damaged"),
        (_header(b'"wall_offset_ns":9223372036854775808'), "header is damaged"),
        (_header(b'"wall_offset_ns":0', b',"page_bytes":0'), "header is damaged"),
        (MAGIC + b"[" * 60_000 + b"\n", "header is damaged"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DataError, match=message):
        Recording(tmp_path / "x")


def test_another_wire_layout_is_refused_by_name(tmp_path: Path) -> None:
    Recorder(
        (tmp_path / "x").open("wb"), Header(WIRE_HASHES | {"exec": "00000000"}, HOST, 0)
    ).close()
    with pytest.raises(DataError, match="another version, whose exec records differ"):
        Recording(tmp_path / "x")


def test_a_recording_outlives_kinds_that_came_later(tmp_path: Path) -> None:
    Recorder((tmp_path / "x").open("wb"), Header({"fork": WIRE_HASHES["fork"]}, HOST, 0)).close()
    assert list(Recording(tmp_path / "x")) == []


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        Recording(tmp_path / "none")


def test_a_cut_recording_is_read_to_its_last_whole_frame(tmp_path: Path) -> None:
    record(tmp_path / "x.kw")
    whole = (tmp_path / "x.kw").read_bytes()
    (tmp_path / "y.kw").write_bytes(whole[:-20])
    recording = Recording(tmp_path / "y.kw")
    core = Core(HOST)
    replay(Session(core), recording)
    assert recording.truncated
    assert not core.executions.open


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6))
@example([(109, 2)])  # a root that ends before it begins
def test_damage_never_raises_anything_but_data_errors(edits: list[tuple[int, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.kw"
        record(path)
        raw = bytearray(path.read_bytes())
        start = raw.index(b"\n", len(MAGIC)) + 1
        for at, value in edits:
            raw[start + at % (len(raw) - start)] = value
        path.write_bytes(raw)
        try:
            replayed(path)
        except DataError as error:
            assert "\n" not in str(error)


IMPOSSIBLE = [
    (FrameKind.TICK, -1, b""),
    (FrameKind.TICK, 1 << 62, b""),
    (FrameKind.BATCH, -(1 << 63), b""),
    (FrameKind.WALL_OFFSET, 1, (1 << 62).to_bytes(8, "little")),
    (FrameKind.WALL_OFFSET, 1, b"\xff" * 7 + b"\x80"),
    (FrameKind.VANISHED, 1, b'[["x", 1]]'),
    (FrameKind.LOSSES, 1, b"[[1]]"),
    (FrameKind.CONTAINERS, 1, b"{}"),
    (99, 1, b""),
]


@pytest.mark.parametrize(("kind", "time_ns", "payload"), IMPOSSIBLE)
def test_a_frame_that_cannot_be_is_a_damaged_one(
    tmp_path: Path, kind: FrameKind, time_ns: int, payload: bytes
) -> None:
    recorder = Recorder((tmp_path / "x").open("wb"), Header(WIRE_HASHES, HOST, 0))
    recorder.write(kind, time_ns, payload)
    recorder.close()
    with pytest.raises(DataError, match="the recording holds a"):
        replay(Session(Core(HOST)), Recording(tmp_path / "x"))


def test_a_wall_clock_of_before_1970_is_no_traceback() -> None:
    story = Story()
    story.core.set_wall_offset(-(1 << 61))
    root = story.command("bash")
    story.exit(root, 1)
    story.tick(100)
    story.finish()
    for record in story.logs:
        encode.log_record(record)
    for span in story.spans:
        encode.span(span)
    assert story.logs
    assert story.logs[0].time_ns == 0


def test_frame_kinds_are_append_only() -> None:
    assert {k.name: k.value for k in FrameKind} == {
        "BATCH": 1,
        "TICK": 2,
        "WALL_OFFSET": 3,
        "WATCH": 4,
        "LOSSES": 5,
        "VANISHED": 6,
        "FINISH": 7,
        "CONTAINERS": 8,
        "BLIND": 9,
        "UNSEEN": 10,
        "GAP": 11,
        "ALERT": 12,
        "HISTORY": 13,
        "USED": 14,
        "NOTE": 15,
        "METRICS": 16,
        "FUNCTIONS": 17,
        "PASSED": 18,
    }


GROUP = f"/kubepods/pod1/{'a' * 64}"
STRANGER = "stranger-argument"


def of_command(path: Path, *, whole: bool = False) -> tuple[Story, ProcessKey]:
    """A command beside a stranger that has arguments, a title, files, names and connections,
    and that kills it in the end."""
    story = Story(CoreOptions(only_commands=True))
    scope = None if whole else CommandScope()
    recorder = Recorder(
        path.open("wb"),
        Header(WIRE_HASHES, HOST, WALL_OFFSET_NS, "host" if whole else "command"),
        scope,
    )
    session = Session(Core(HOST, CoreOptions(only_commands=True)), recorder)
    containers = (
        ContainerName("a" * 64, "pod", "ns", "etl"),
        ContainerName("b" * 64, "other-pod", "ns", "c"),
    )
    session.containers(containers, 1)
    stranger = ProcessKey(50, 1)
    blank: dict[str, Any] = {
        "parent": SELF,
        "real_parent": NOBODY,
        "comm": "perl",
        "uid": 1001,
        "executable": "/opt/x/stranger-path/perl5.36",
    }
    story.fact(
        Existing,
        stranger,
        argv=("perl", STRANGER),
        environ=("POD_NAME=stranger-pod",),
        memory_cgroup="/stranger-group",
        **blank,
    )
    root = story.command("load.sh", "--own-argument")
    story.exec(root, "load.sh", "--own-argument", memory_cgroup=GROUP)
    child = story.spawn(root, "python3", "own-child.py")
    story.exec(stranger, "perl", STRANGER, "again", executable="/opt/x/stranger-path/perl5.36")
    story.title(stranger, "stranger-title")
    story.title(child, "own-title")
    story.opens(stranger, "/home/stranger-file")
    story.opens(child, "/home/own-file")
    story.fact(NameQuery, stranger, labels="\x08stranger\x03com")
    story.fact(CallFailed, stranger, path="stranger-call")
    for owner, local, peer in (
        (child, 40000, 5432),
        (stranger, 5432, 40000),
        (stranger, 41000, 443),
    ):
        story.fact(Connection, owner, local_port=local, peer_port=peer, stage=1)
    story.fact(
        Connection, stranger, local_port=5432, connection_flags=ConnectionFlag.LISTENER, stage=5
    )
    story.signal(stranger, child, 9)
    story.exit(child, signal=9)
    story.exit(stranger, 0, title="stranger-title")
    story.exit(root, 1)
    session.watch(Watch(root.tgid, SELF.tgid, "job"), 1)
    session.batch(story.records, 2_000_000_000)
    session.finish(9_000_000_000)
    recorder.close()
    return story, stranger


def events_in(path: Path) -> list[Event]:
    frames = [f for f in Recording(path) if f.kind == FrameKind.BATCH]
    return [decode(raw, Redactor("off")) for frame in frames for raw in split(frame.payload)]


def test_a_recording_of_a_command_holds_only_who_the_others_are(tmp_path: Path) -> None:
    story, stranger = of_command(tmp_path / "x.kw")
    raw = (tmp_path / "x.kw").read_bytes()
    for mine in (
        b"--own-argument",
        b"own-child.py",
        b"own-title",
        b"/home/own-file",
        GROUP.encode(),
        b'"pod":"pod"',
    ):
        assert mine in raw, mine
    assert b"stranger" not in raw and b"other-pod" not in raw
    others = [e for e in events_in(tmp_path / "x.kw") if getattr(e, "process", None) == stranger]
    assert [type(e) for e in others] == [Existing, Exec, Connection, Connection, Exit]
    first = others[0]
    assert isinstance(first, Existing) and (first.executable, first.comm, first.uid) == (
        "perl5.36",
        "perl",
        1001,
    )
    assert [(e.local_port, e.peer_port) for e in others if isinstance(e, Connection)] == [
        (5432, 40000),
        (5432, 0),
    ]
    assert any(isinstance(e, Signal) and e.sender == stranger for e in events_in(tmp_path / "x.kw"))
    assert story.records


def test_its_replay_says_the_same_of_the_command(tmp_path: Path) -> None:
    of_command(tmp_path / "x.kw")
    of_command(tmp_path / "whole.kw", whole=True)
    assert b"stranger-title" in (tmp_path / "whole.kw").read_bytes()
    told = []
    for name in ("x.kw", "whole.kw"):
        recording = Recording(tmp_path / name)
        core = Core(recording.header.host, CoreOptions(only_commands=True))
        replay(Session(core), recording)
        (report,) = core.incidents.reports.values()
        told.append((shape(core.take()), report))
    assert told[0] == told[1]
    assert "bash (50)" in told[0][1].summary  # the name that the signal came with


def contents(path: Path) -> str:
    recording = Recording(path)
    recording.close()
    return recording.header.contents


def test_a_recording_says_what_it_holds(tmp_path: Path) -> None:
    of_command(tmp_path / "x.kw")
    assert contents(tmp_path / "x.kw") == COMMAND_CONTENTS
    of_command(tmp_path / "x.kw", whole=True)
    assert contents(tmp_path / "x.kw") == HOST_CONTENTS
    Recorder((tmp_path / "old.kw").open("wb"), Header(WIRE_HASHES, HOST, 0)).close()
    old = (tmp_path / "old.kw").read_bytes()
    (tmp_path / "old.kw").write_bytes(old.replace(b',"holds":""', b""))
    assert contents(tmp_path / "old.kw") == HOST_CONTENTS


def test_members_are_bounded_and_the_dead_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.observe.recording_scope.MEMBERS", 3)
    story, scope = Story(), CommandScope()
    root = story.command("sh")
    scope.watch(Watch(root.tgid, SELF.tgid, "sh"))
    children = []
    for number in range(5):
        children.append(story.spawn(root, "job", str(number)))
        story.exit(children[-1], 0)
    last = story.spawn(root, "job", "last")
    kept = [scope.keep(decode(raw, Redactor())) for raw in story.records]
    told = [e for e in kept if isinstance(e, Exec) and e.argv]
    assert [e.process for e in told] == [root, *children, last]
    assert sum(isinstance(e, Fork) for e in kept) == 7


def test_an_oom_kill_elsewhere_names_no_group(tmp_path: Path) -> None:
    story = Story()
    other = story.spawn(SELF, "other")
    story.oom(other)
    (kill,) = [
        e
        for e in (CommandScope().keep(decode(raw, Redactor())) for raw in story.records)
        if isinstance(e, OomKill)
    ]
    assert (kill.memory_cgroup, kill.victim_cgroup) == ("", "") and kill.victim == other


def test_kinds_without_a_process_of_the_command_are_counted() -> None:
    story, scope = Story(), CommandScope()
    other = story.spawn(SELF, "other")
    story.title(other, "x")
    story.opens(other, "/x")
    for raw in story.records:
        scope.keep(decode(raw, Redactor()))
    assert scope.left_out == {Title.__name__: 1, FileOpened.__name__: 1}
