"""Real recordings, replayed: every byte of what would be sent must be what it was.

After a wanted change: KWITNESS_UPDATE_GOLDENS=1 make test-unit, then read the diff.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from receiver.export import encode
from receiver.export.encode import Envelope
from receiver.export.otlp_json import to_json
from receiver.observe.core import Core
from receiver.observe.recording import Recording
from receiver.observe.replay import replay
from receiver.observe.session import Session
from receiver.semconv import SCHEMA_URL
from receiver.signals import LogRecord
from tests.livecheck import check_bytes

HERE = Path(__file__).parent
RECORDINGS = sorted(HERE.glob("*.kw"))


def otlp(recording: Path) -> list[str]:
    """One line of OTLP/JSON per signal, in the order in which the core made them."""
    source = Recording(recording)
    core = Core(source.header.host)
    envelope = Envelope("receiver", "golden", SCHEMA_URL)
    lines = []
    replay(Session(core), source)
    for signal in core.take():
        if isinstance(signal, LogRecord):
            name, item = "logs", encode.log_record(signal)
        else:
            name, item = "traces", encode.span(signal)
        body = envelope.request([(signal.resource, item)])
        assert check_bytes(name, body) == []  # type: ignore[arg-type]
        lines.append(to_json(name, body).decode())  # type: ignore[arg-type]
    return lines


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda p: p.stem)
def test_a_replay_gives_the_same_signals(recording: Path) -> None:
    lines = otlp(recording)
    golden = recording.with_suffix(".jsonl")
    if os.environ.get("KWITNESS_UPDATE_GOLDENS"):
        golden.write_text("\n".join(lines) + "\n")
    assert lines == golden.read_text().splitlines()


def test_there_are_recordings() -> None:
    assert {p.stem for p in RECORDINGS} >= {"demo", "retry"}


def test_recordings_hold_nothing_of_the_host_they_were_made_on() -> None:
    for path in RECORDINGS:
        recording = Recording(path)
        recording.close()
        assert recording.header.host.name == "testhost"
        for event in HERE.joinpath(path.stem + ".jsonl").read_text().splitlines():
            assert "/home/" not in event
            assert "/root/" not in event
