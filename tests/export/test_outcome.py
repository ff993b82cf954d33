"""What servers answer, and what we make of it."""

from __future__ import annotations

import contextlib
import math
from datetime import UTC, datetime

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from receiver.export.outcome import (
    Accepted,
    Backoff,
    Permanent,
    Retryable,
    TooLarge,
    fields,
    grpc_outcome,
    http_outcome,
    partial_success,
    retry_after,
    retry_info,
)
from tests.export.fake import partial
from tests.export.fake import retry_info as make_retry_info

CODES = {
    "CANCELLED": True, "UNKNOWN": False, "INVALID_ARGUMENT": False, "DEADLINE_EXCEEDED": True, "NOT_FOUND": False,
    "ALREADY_EXISTS": False, "PERMISSION_DENIED": False, "UNAUTHENTICATED": False, "RESOURCE_EXHAUSTED": False,
    "FAILED_PRECONDITION": False, "ABORTED": True, "OUT_OF_RANGE": True, "UNIMPLEMENTED": False, "INTERNAL": False,
    "UNAVAILABLE": True, "DATA_LOSS": True,
}  # fmt: skip


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
        outcome = http_outcome(status, "", b"", False)
        expected = (
            Retryable
            if status in (429, 502, 503, 504)
            else TooLarge
            if status == 413
            else Permanent
        )
        assert type(outcome) is expected, status


def test_partial_success_is_counted_and_never_retried() -> None:
    assert partial_success(partial(3, "too old")) == Accepted(3, "too old")
    assert partial_success(b"") == Accepted()
    assert http_outcome(200, "", partial(2), True) == Accepted(2)


def test_html_with_200_is_no_success() -> None:
    assert isinstance(http_outcome(200, "", b"<html>", False), Permanent)
    assert isinstance(http_outcome(200, "", b"\xff\xff", True), Permanent)


def test_retry_after() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after("7", now) == 7.0
    assert retry_after("Thu, 01 Jan 2026 00:00:09 GMT", now) == 9.0
    assert retry_after("Thu, 01 Jan 2015 00:00:09 GMT", now) == 0.0
    assert retry_after("1000000000", now) == 60.0
    assert retry_after("Thu, 01 Jan 2026 00:00:09", now) == 9.0  # a date without a zone is UTC
    assert retry_after("9" * 400, now) == 60.0


GARBAGE = [
    "-5", "soon", "nan", "inf", "1e3", "0x10", "", "Thu, 01 Jan 99999999999999 00:00:09 GMT", "٣",
    "Thu, 01 Jan 2026 00:00:09 +9999999999999999999999", "Thu, 99 Jan 2026 00:00:09 GMT",
]  # fmt: skip


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
    """0, a negative number and a date in the past (which comes as 0) are no permission to come back at once."""
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
    ((0, 0), 0.0), ((-5, 0), 0.0), ((1, 500_000_000), 1.5), ((315_576_000_000, 999_999_999), 60.0), ((0, -1), 0.0),
]  # fmt: skip


@pytest.mark.parametrize(("duration", "seconds"), DURATIONS)
def test_a_retry_info_is_a_wait_within_the_cap(duration: tuple[int, int], seconds: float) -> None:
    entry = AnyMessage()
    entry.Pack(RetryInfo(retry_delay=Duration(seconds=duration[0], nanos=duration[1])))
    assert retry_info(Status(code=14, details=[entry]).SerializeToString()) == seconds


def test_a_negative_count_of_rejected_items_is_none() -> None:
    assert partial_success(partial(-1)) == Accepted(0, "")


def test_a_redirect_names_the_remedy() -> None:
    outcome = http_outcome(308, "", b"<html>", False)
    assert isinstance(outcome, Permanent)
    assert "redirects" in outcome.message


@given(st.binary(max_size=200))
def test_garbage_details_and_answers_never_raise(raw: bytes) -> None:
    retry_info(raw)
    partial_success(raw)
    with contextlib.suppress(ValueError):
        fields(raw)
