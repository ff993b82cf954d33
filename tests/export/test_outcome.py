"""What servers answer, and what we make of it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
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
    assert grpc_outcome("RESOURCE_EXHAUSTED", "", make_retry_info(2.5)) == Retryable("resource_exhausted", 2.5)
    assert grpc_outcome("RESOURCE_EXHAUSTED", "Received message larger than max (5 vs. 4)", b"") == TooLarge()


def test_the_http_retry_table() -> None:
    for status in range(300, 600):
        outcome = http_outcome(status, "", b"", False)
        expected = Retryable if status in (429, 502, 503, 504) else TooLarge if status == 413 else Permanent
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
    assert retry_after("-5", now) is None
    assert retry_after("soon", now) is None


def test_backoff_grows_with_jitter_and_obeys_the_server() -> None:
    backoff = Backoff(1.0, 1.5, 30.0, 0.2)
    waits = [backoff.wait_seconds(None) for _ in range(20)]
    for wait, base in zip(waits, [min(1.5**n, 30.0) for n in range(20)], strict=True):
        assert 0.8 * base <= wait <= 1.2 * base
    assert len(set(waits)) > 15
    assert backoff.wait_seconds(3.0) == 3.0
    assert backoff.wait_seconds(1e9) == 60.0
    assert backoff.wait_seconds(-4.0) == 0.0


@given(st.binary(max_size=200))
def test_garbage_details_and_answers_never_raise(raw: bytes) -> None:
    retry_info(raw)
    partial_success(raw)
    with contextlib.suppress(ValueError):
        fields(raw)
