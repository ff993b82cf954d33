"""Recordings of other versions, damaged inputs, and the settings in a recording."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.attribution.rules import Rule
from receiver.errors import DataError
from receiver.events import WIRE_HASHES
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.observe.recorder import Recorder, without_secrets
from receiver.observe.recording import (
    HOST_CONTENTS,
    MAGIC,
    SETTINGS_CONTENTS,
    FrameKind,
    Header,
    Recording,
    Settings,
)
from receiver.observe.replay import core_of, replay
from receiver.observe.session import Session
from receiver.text.redact import Redactor
from tests.builders import HOST
from tests.session.stories import ROOT, SETTINGS, live


def test_a_recording_says_that_it_holds_the_settings(tmp_path: Path) -> None:
    live(tmp_path / "x.kw")
    recording = Recording(tmp_path / "x.kw")
    recording.close()
    assert recording.header.contents == f"{HOST_CONTENTS}; {SETTINGS_CONTENTS}"
    assert recording.header.settings == SETTINGS


def test_recordings_of_the_version_before_are_read() -> None:
    """The golden recordings are of version 2, and their replays are compared byte for byte."""
    path = ROOT / "tests/scenarios/demo.kw"
    assert path.read_bytes().startswith(b"kwitness-recording 2\n") and MAGIC.endswith(b" 3\n")
    recording = Recording(path)
    assert recording.header.settings is None
    replay(Session(core_of(recording.header)), recording)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (b'{"options":{"of_a_later_version":1},"rules":[]}', "settings that this version does not"),
        (b'{"options":{},"rules":[{"system":"a","pipeline":"b"}]}', "settings that this version"),
        (b'{"options":{"linger_seconds":-1},"rules":[]}', "settings that this version does not"),
    ],
)
def test_settings_of_another_version_are_named(
    tmp_path: Path, settings: bytes, message: str
) -> None:
    header = (
        b'{"wires":{},"host":{"boot_id":"","name":"","session":""},"wall_offset_ns":0,"settings":'
    )
    (tmp_path / "x").write_bytes(MAGIC + header + settings + b"}\n")
    with pytest.raises(DataError, match=message):
        Recording(tmp_path / "x")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (FrameKind.UNSEEN, b"[1]"),
        (FrameKind.GAP, b"{}"),
        (FrameKind.ALERT, b'{"from":"2024-01-01T00:00:00"}'),
        (FrameKind.USED, b'{"runs":[[["a"],[]]]}'),
        (FrameKind.NOTE, b'["a"]'),
        (FrameKind.METRICS, b"2"),
        (FrameKind.FUNCTIONS, b"[]"),
        (FrameKind.PASSED, b"1234567"),
        (FrameKind.PASSED, b"\xff" * 8),
    ],
)
def test_a_damaged_input_is_one_clear_line(tmp_path: Path, kind: FrameKind, payload: bytes) -> None:
    recorder = Recorder((tmp_path / "x").open("wb"), Header(WIRE_HASHES, HOST, 0))
    recorder.write(FrameKind.HISTORY, 1)
    recorder.write(kind, 1, payload)
    recorder.close()
    with pytest.raises(DataError, match=f"a damaged frame of kind {kind}"):
        replay(Session(Core(HOST)), Recording(tmp_path / "x"))


def test_settings_are_stored_without_secrets() -> None:
    rules = (
        Rule(system="a", pipeline="b", argv="--password=*"),
        Rule(system="a", pipeline="b", argv="--password=hunter2x*"),
        Rule(system="a", pipeline="b", executable="/opt/[a-z]*/load"),
    )
    attributes = (("db.password", "hunter2x"), ("team", "data"), ("tier", 2))
    stored = without_secrets(
        Settings(CoreOptions(resource_attributes=attributes), rules), Redactor("scrub")
    )
    assert "hunter2x" not in str(stored)
    assert [r.argv for r in stored.rules[::2]] == ["--password=*", ""]
    assert stored.rules[2] == rules[2] and "[redacted" in stored.rules[1].argv
    assert stored.options.resource_attributes[1:] == attributes[1:]
