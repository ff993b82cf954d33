"""What servers answer, and what we make of it."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from receiver.export.options import SIGNALS, SignalName
from receiver.export.otlp_answers import (
    grpc_outcome,
    http_outcome,
    partial_success,
    retry_info,
)
from receiver.export.outcome import (
    Accepted,
    Backoff,
    Permanent,
    Retryable,
    TooLarge,
    retry_after,
)
from tests.export.fake import partial
from tests.export.fake import retry_info as make_retry_info

ROOT = Path(__file__).parent.parent.parent
CODES = {
    "CANCELLED": True,
    "UNKNOWN": False,
    "INVALID_ARGUMENT": False,
    "DEADLINE_EXCEEDED": True,
    "NOT_FOUND": False,
    "ALREADY_EXISTS": False,
    "PERMISSION_DENIED": False,
    "UNAUTHENTICATED": False,
    "RESOURCE_EXHAUSTED": False,
    "FAILED_PRECONDITION": False,
    "ABORTED": True,
    "OUT_OF_RANGE": True,
    "UNIMPLEMENTED": False,
    "INTERNAL": False,
    "UNAVAILABLE": True,
    "DATA_LOSS": True,
}


@pytest.mark.parametrize(("code", "again"), CODES.items())
def test_the_grpc_retry_table(code: str, again: bool) -> None:
    assert isinstance(grpc_outcome(code, "", b""), Retryable) == again


def test_resource_exhausted_is_retried_only_with_retry_info() -> None:
    assert grpc_outcome("RESOURCE_EXHAUSTED", "", make_retry_info(2.5)) == Retryable(
        "resource_exhausted", 2.5
    )
    assert (
        grpc_outcome("RESOURCE_EXHAUSTED", "Received message larger than max (5 vs. 4)", b"")
        == TooLarge()
    )


def test_the_http_retry_table() -> None:
    for status in range(300, 600):
        outcome = http_outcome("logs", status, "", b"", is_protobuf=False)
        expected = (
            Retryable
            if status in (429, 502, 503, 504)
            else TooLarge
            if status == 413
            else Permanent
        )
        assert type(outcome) is expected, status


def test_partial_success_is_counted_and_never_retried() -> None:
    assert partial_success("logs", partial(3, "too old")) == Accepted(3, "too old")
    assert partial_success("logs", b"") == Accepted()
    assert http_outcome("logs", 200, "", partial(2), is_protobuf=True) == Accepted(2)


def test_each_signal_has_a_response_of_its_own() -> None:
    spans = ExportTracePartialSuccess(rejected_spans=1, error_message="a")
    points = ExportMetricsPartialSuccess(rejected_data_points=2, error_message="b")
    records = ExportLogsPartialSuccess(rejected_log_records=3, error_message="c")
    answers: tuple[tuple[SignalName, Any, Accepted], ...] = (
        ("traces", ExportTraceServiceResponse(partial_success=spans), Accepted(1, "a")),
        ("metrics", ExportMetricsServiceResponse(partial_success=points), Accepted(2, "b")),
        ("logs", ExportLogsServiceResponse(partial_success=records), Accepted(3, "c")),
    )
    for signal, response, expected in answers:
        assert partial_success(signal, response.SerializeToString()) == expected


def test_a_warning_without_a_rejected_item_is_kept_and_cut() -> None:
    assert partial_success("logs", partial(0, "é" * 300)) == Accepted(0, "é" * 200)


@pytest.mark.parametrize(
    "body", [b"\xff\xff", b"\x0a\x05\x08", b"\x0a\x03\x12\x01\xff"], ids=["tag", "cut", "utf-8"]
)
@pytest.mark.parametrize("signal", SIGNALS)
def test_an_answer_that_is_not_protobuf_is_a_bad_response(signal: SignalName, body: bytes) -> None:
    outcome = partial_success(signal, body)
    assert isinstance(outcome, Permanent)
    assert outcome.reason == "bad_response"


def test_html_with_200_is_no_success() -> None:
    assert isinstance(http_outcome("logs", 200, "", b"<html>", is_protobuf=False), Permanent)
    assert isinstance(http_outcome("logs", 200, "", b"\xff\xff", is_protobuf=True), Permanent)


def test_retry_after() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("7", now) == 7.0
    assert retry_after("Thu, 01 Jan 2026 00:00:09 GMT", now) == 9.0
    assert retry_after("Thu, 01 Jan 2015 00:00:09 GMT", now) == 0.0
    assert retry_after("1000000000", now) == 60.0
    assert retry_after("Thu, 01 Jan 2026 00:00:09", now) == 9.0  # a date without a zone is UTC
    assert retry_after("9" * 400, now) == 60.0


GARBAGE = [
    "-5",
    "soon",
    "nan",
    "inf",
    "1e3",
    "0x10",
    "",
    "Thu, 01 Jan 99999999999999 00:00:09 GMT",
    "٣",
    "Thu, 01 Jan 2026 00:00:09 +9999999999999999999999",
    "Thu, 99 Jan 2026 00:00:09 GMT",
]


@pytest.mark.parametrize("value", GARBAGE)
def test_a_retry_after_that_is_none_asks_for_nothing(value: str) -> None:
    assert retry_after(value) is None


@given(
    st.text(max_size=80)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,9} [A-Z][a-z]{2} \d{1,20} \d+:\d+:\d+ [+-]\d{1,30}")
)
def test_any_retry_after_is_nothing_or_a_wait_within_the_cap(value: str) -> None:
    found = retry_after(value)
    assert found is None or 0 <= found <= 60


ASKED = [None, 0.0, -1.0, -1e300, math.nan, -math.inf, math.inf, 1e-9]


@pytest.mark.parametrize("asked", ASKED)
def test_backoff_grows_with_jitter_whatever_a_server_asks_for(asked: float | None) -> None:
    """0, a negative number and a date in the past (which comes as 0) are no permission to
    come back at once."""
    backoff = Backoff(1.0, 1.5, 30.0, 0.2)
    waits = [backoff.wait_seconds(asked) for _ in range(20)]
    for wait, base in zip(waits, [min(1.5**n, 30.0) for n in range(20)], strict=True):
        assert 0.8 * base <= wait <= 1.2 * base
    assert len(set(waits)) > 15


def test_a_server_can_ask_for_a_longer_wait_and_is_not_met_by_all_clients_at_once() -> None:
    waits = [Backoff().wait_seconds(20.0) for _ in range(20)]
    assert all(20 <= wait <= 24 for wait in waits)
    assert len(set(waits)) > 15
    assert 60 <= Backoff().wait_seconds(1e9) <= 72


DURATIONS = [
    ((0, 0), 0.0),
    ((-5, 0), 0.0),
    ((1, 500_000_000), 1.5),
    ((315_576_000_000, 999_999_999), 60.0),
    ((0, -1), 0.0),
]


@pytest.mark.parametrize(("duration", "seconds"), DURATIONS)
def test_a_retry_info_is_a_wait_within_the_cap(duration: tuple[int, int], seconds: float) -> None:
    entry = AnyMessage()
    entry.Pack(RetryInfo(retry_delay=Duration(seconds=duration[0], nanos=duration[1])))
    assert retry_info(Status(code=14, details=[entry]).SerializeToString()) == seconds


def test_a_negative_count_of_rejected_items_is_none() -> None:
    assert partial_success("logs", partial(-1)) == Accepted(0, "")


def test_a_redirect_names_the_remedy() -> None:
    outcome = http_outcome("logs", 308, "", b"<html>", is_protobuf=False)
    assert isinstance(outcome, Permanent)
    assert "redirects" in outcome.message


def test_a_retry_info_stands_among_other_details() -> None:
    """Servers add other messages; a damaged entry, or none of that type, asks for nothing."""
    other, asked = AnyMessage(), AnyMessage()
    other.Pack(Duration(seconds=9))
    asked.Pack(RetryInfo(retry_delay=Duration(seconds=3)))
    damaged = AnyMessage(type_url=asked.type_url, value=b"\xff")
    for details, seconds in (([other, asked], 3.0), ([other], None), ([damaged], None)):
        assert retry_info(Status(code=14, details=details).SerializeToString()) == seconds


@given(st.binary(max_size=200), st.sampled_from(SIGNALS))
def test_garbage_details_and_answers_never_raise(raw: bytes, signal: SignalName) -> None:
    retry_info(raw)
    partial_success(signal, raw)


def test_protobuf_is_loaded_by_the_otlp_transports_only() -> None:
    """`kwitness run` without an exporter pays nothing for it."""
    code = "import sys, {}; print('google.protobuf' in sys.modules)"
    for module, expected in (
        ("receiver.cli.observe", "False"),
        ("receiver.cli.serve", "False"),
        ("receiver.export.otlp_grpc", "True"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code.format(module)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected, module
