"""The file of a recording: what goes in comes out, and damage is a data error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver.errors import DataError
from receiver.events import (
    WIRE_HASHES,
)
from receiver.export import encode
from receiver.model import Blind, Watch
from receiver.observe.core import Core
from receiver.observe.recorder import Recorder
from receiver.observe.recording import (
    MAGIC,
    FrameKind,
    Header,
    Recording,
)
from receiver.observe.replay import replay
from receiver.observe.session import Session
from receiver.signals import LogRecord, Span
from tests.builders import HOST, SELF, WALL_OFFSET_NS, Story, airflow
from tests.recording.replays import shape


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
