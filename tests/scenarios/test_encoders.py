"""Every signal of every recording, encoded by our encoder and by opentelemetry-proto's generated
classes: the same message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as MetricMessage

from receiver.export import encode
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.observe.recording import Recording
from receiver.observe.replay import replay
from receiver.observe.session import Session
from receiver.signals import LogRecord, Metric, OtlpSignal
from tests.export import reference

HERE = Path(__file__).parent
RECORDINGS = sorted(HERE.rglob("*.kw"))


def replayed(path: Path) -> tuple[list[OtlpSignal], tuple[Metric, ...]]:
    """All that a replay makes; with a log record for each exit, which the default leaves out."""
    recording = Recording(path)
    core = Core(recording.header.host, CoreOptions(exit_events=True))
    replay(Session(core), recording)
    return list(core.take()), core.metrics()


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_both_encoders_make_the_same_message(path: Path) -> None:
    signals, metrics = replayed(path)
    assert signals and metrics
    for signal in signals:
        theirs: Any
        if isinstance(signal, LogRecord):
            ours, theirs = encode.log_record(signal), reference.log_record(signal)
        else:
            ours, theirs = encode.span(signal), reference.span(signal)
        assert type(theirs).FromString(ours) == theirs  # first, because it names the field
        assert ours == theirs.SerializeToString()
    for metric in metrics:
        expected = reference.metric(metric, 5, 9)
        parsed = MetricMessage.FromString(encode.metric(metric, 5, 9))
        assert parsed == expected
        # our points name their attributes first: the same message in another order of bytes
        assert parsed.SerializeToString() == expected.SerializeToString()
