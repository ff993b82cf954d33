"""No bytes and no facts make reading or looking raise, and both are bounded."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver import semconv as sc
from receiver.insights import runs
from receiver.insights.across import across
from receiver.insights.records import _NUMBERS, _TEXTS, read
from receiver.insights.runs import BYTES, RUN_BYTES, RemoteFact, RemoteRun, RemoteRuns
from receiver.insights.service import REPORT_BYTES, Insights
from receiver.investigate.report import to_json
from receiver.signals import LogRecord as Sent
from receiver.signals import ResourceAttributes
from tests.insights.requests import record, request

KINDS = sorted(runs._KEPT | runs._KEPT_WHEN_FAILED)
FLOATS = st.floats(allow_nan=True, allow_infinity=True)
WORDS = [
    "10.0.0.1",
    "10.0.0.2",
    "/data/x",
    "process java (9999999)",
    "file /x",
    "process x (٣)",
    "net.reset_short",
    "mem.cgroup_oom",
    "u1",
    "i1",
    1,
    1.0,
    0.9,
    5.0,
]
VALUES = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    FLOATS,
    st.booleans(),
    st.text(max_size=40),
    st.binary(max_size=8),
    st.lists(st.text(max_size=8), max_size=3),
    st.sampled_from(WORDS),
)
NAMES = st.sampled_from(sorted({*_NUMBERS, *_TEXTS} - {sc.EVENT_NAME}))
FACTS = st.tuples(
    st.sampled_from(["a", "b", "ü"]),
    st.sampled_from(KINDS),
    st.integers(0, (1 << 64) - 1) | st.integers(0, 10**11),
    st.text(max_size=20),
    st.dictionaries(NAMES, VALUES, max_size=8),
)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(DecodeError):
        read(body)


@settings(max_examples=150, deadline=None)
@given(st.lists(FACTS, max_size=12), st.data())
def test_no_request_makes_looking_raise(facts: list[Any], data: st.DataObject) -> None:
    """By way of bytes, some of them changed."""
    sent: list[Sent] = []
    insights = Insights(ResourceAttributes(()), sent.append)
    for number, (host, kind, at, text, values) in enumerate(facts):
        made = record(kind, **({"log.record.uid": f"u{number}"} | values))
        made.time_unix_nano, made.body.string_value = at, text
        body = bytearray(request(made, host__name=host).SerializeToString())
        if data.draw(st.booleans()):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        try:
            insights.take_batch(read(bytes(body)), 0.0)
        except DecodeError:
            continue
    insights.evaluate_due(1000.0, 1)
    insights.metrics()
    assert not insights.runs.drops["failed_run"]
    assert all(json.loads(to_json(report)) for report in insights.reports.values())


@settings(max_examples=300, deadline=None)
@given(st.lists(FACTS, min_size=2, max_size=14))
def test_no_facts_make_across_raise(facts: list[Any]) -> None:
    """Also those that no request can bring in."""
    run = RemoteRun()
    for number, (host, kind, at, text, values) in enumerate(facts):
        run.facts.append(
            RemoteFact(
                host=host,
                addresses=("10.0.0.1",),
                uid=f"u{number}",
                at_ns=at,
                kind=kind,
                severity=17,
                text=text,
                trace_id="ab" * 16,
                span_id="s",
                values=values,
            )
        )
        run.hosts[host] = ("10.0.0.1",) if host == "a" else ("10.0.0.2",)
    report = across("ab" * 16, run)
    assert report is None or json.loads(to_json(report))


def test_a_run_that_cannot_be_looked_at_is_set_aside(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last line of defence, with a mistake put into the looking."""
    insights, seen = Insights(ResourceAttributes(()), lambda _: None), []

    def broken(trace_id: str, run: RemoteRun) -> None:
        seen.append(trace_id)
        if trace_id.startswith("aa"):
            raise ValueError("two\nlines")

    monkeypatch.setattr("receiver.insights.service.across", broken)
    for trace in ("aa" * 16, "bb" * 16):
        insights.take(
            RemoteFact(
                host="a",
                addresses=(),
                uid="u",
                at_ns=5,
                kind=sc.EVENT_PIPELINE_TASK_END,
                severity=17,
                text="",
                trace_id=trace,
                span_id="",
                values={},
            ),
            0.0,
        )
    insights.evaluate_due(10.0, 1)
    insights.evaluate_due(1000.0, 1)
    assert (
        seen == ["aa" * 16, "bb" * 16]
        and insights.runs.drops["failed_run"] == 1
        and len(insights.runs) == 1
    )
    assert len(caplog.records) == 1 and "\n" not in caplog.records[0].getMessage()


def big(trace: int, uid: str, size: int) -> RemoteFact:
    return RemoteFact(
        host="a",
        addresses=(),
        uid=uid,
        at_ns=5,
        kind=sc.EVENT_PROCESS_KILLED,
        severity=17,
        text="x" * size,
        trace_id=f"{trace:032x}",
        span_id="",
        values={},
    )


def test_facts_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "BYTES", 1 << 20)
    table = RemoteRuns()
    for number in range(3000):
        table.add(big(number, "u", 1000), 0.0)
    assert 0 < table.bytes <= 1 << 20 and table.drops["forgotten_run"] == 3000 - len(table)
    one = RemoteRuns()
    for number in range(400):
        one.add(big(1, f"u{number}", 10_000), 0.0)
    assert one.bytes <= RUN_BYTES and one.drops["run_full"] > 200 and BYTES > RUN_BYTES


def test_reports_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.insights.test_across import a_kill_and_a_reset

    report = across("ab" * 16, a_kill_and_a_reset().run())
    assert report is not None
    size = len(to_json(report))
    monkeypatch.setattr("receiver.insights.service.REPORT_BYTES", 5 * size)
    insights = Insights(ResourceAttributes(()), lambda _: None)
    for number in range(20):
        insights.keep(msgspec.structs.replace(report, id=f"{number:016x}"))
    assert (
        list(insights.reports) == [f"{n:016x}" for n in range(15, 20)]
        and insights.runs.drops["forgotten_report"] == 15
    )
    assert size < REPORT_BYTES / 100
