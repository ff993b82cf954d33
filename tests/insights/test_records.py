"""Whatever a sender writes into a request: each record becomes a fact, is passed over,
or is refused by itself; nothing raises."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import msgspec
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from receiver import semconv as sc
from receiver.insights import runs
from receiver.insights.across import across
from receiver.insights.records import _NUMBERS, _TEXTS, RECORD_BYTES, RECORDS, read
from receiver.insights.runs import BYTES, RUN_BYTES, RemoteFact, RemoteRun, RemoteRuns
from receiver.insights.service import REPORT_BYTES, Insights
from receiver.investigate.report import to_json
from receiver.signals import LogRecord as Sent
from receiver.signals import ResourceAttributes

KINDS = sorted(runs._KEPT | runs._KEPT_WHEN_FAILED)
TRACE = b"\xab" * 16


def record(kind: str = sc.EVENT_PROCESS_KILLED, **values: Any) -> LogRecord:
    """A good one, but for `values`; None leaves an attribute out."""
    made = LogRecord(
        time_unix_nano=5,
        severity_number=SeverityNumber.SEVERITY_NUMBER_ERROR,
        trace_id=TRACE,
        span_id=b"\1" * 8,
        event_name=kind,
    )
    made.body.string_value = "it was killed."
    base: dict[str, Any] = {sc.LOG_RECORD_UID: "u1", sc.PROCESS_PID: 7, sc.PIPELINE_NAME: "p"}
    for key, value in (base | {k.replace("__", "."): v for k, v in values.items()}).items():
        if value is not None:
            made.attributes.add(key=key, value=any_value(value))
    return made


def any_value(value: Any) -> AnyValue:
    if isinstance(value, AnyValue):
        return value
    made = AnyValue()
    match value:
        case bool():
            made.bool_value = value
        case int():
            made.int_value = value
        case float():
            made.double_value = value
        case str():
            made.string_value = value
        case bytes():
            made.bytes_value = value
        case list():
            made.array_value.values.extend(any_value(v) for v in value)
    return made


def request(*records: LogRecord, **resource: Any) -> ExportLogsServiceRequest:
    made = ExportLogsServiceRequest()
    logs = made.resource_logs.add()
    for key, value in (
        {"host.name": "a", "host.ip": ["10.0.0.1"]}
        | {k.replace("__", "."): v for k, v in resource.items()}
    ).items():
        logs.resource.attributes.add(key=key, value=any_value(value))
    logs.scope_logs.add().log_records.extend(records)
    return made


def nested(depth: int) -> AnyValue:
    made = AnyValue(string_value="x")
    for _ in range(depth):
        outer = AnyValue()
        outer.array_value.values.append(made)
        made = outer
    return made


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"process__pid": math.nan}, "not_finite"),
        ({"process__pid": math.inf}, "not_finite"),
        ({"process__pid": -math.inf}, "not_finite"),
        ({"process__pid": 1e300}, "out_of_range"),
        ({"process__pid": (1 << 63) - 1}, "out_of_range"),
        ({"process__pid": -1}, "out_of_range"),
        ({"process__pid": "7"}, "wrong_type"),
        ({"process__pid": True}, "wrong_type"),
        ({"process__pid": b"7"}, "wrong_type"),
        ({"process__pid": [7]}, "wrong_type"),
        ({"process__pid": AnyValue()}, "wrong_type"),
        ({"process__pid": None}, "absent_field"),
        ({"pipeline__name": 7}, "wrong_type"),
        ({"pipeline__name": nested(20)}, "wrong_type"),
        ({"pipeline__name": "x" * 100_000}, "text_too_long"),
        ({"pipeline__name": "x" * RECORD_BYTES}, "record_too_large"),
        ({"log__record__uid": None}, "absent_field"),
        ({"log__record__uid": ""}, "absent_field"),
        ({"nobody__asks__for__it": math.nan}, "not_finite"),
        ({f"k{n}": n for n in range(200)}, "too_many_attributes"),
    ],
)
def test_a_bad_attribute_costs_its_own_record_only(values: dict[str, Any], reason: str) -> None:
    batch = read(request(record(**values), record(log__record__uid="u2")).SerializeToString())
    assert (
        dict(batch.refused) == {reason: 1}
        and [f.uid for f in batch.facts] == ["u2"]
        and batch.records == 2
    )


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ({"host__name": 7}, "wrong_type"),
        ({"host__name": "x" * 300}, "text_too_long"),
        ({"host__ip": math.nan}, "wrong_type"),
        ({"host__ip": ["10.0.0.1", 7]}, "wrong_type"),
        ({"other": math.inf}, "not_finite"),
    ],
)
def test_a_bad_resource_costs_its_own_records_only(resource: dict[str, Any], reason: str) -> None:
    both = request(record(), record(), **resource)
    both.resource_logs.extend(request(record()).resource_logs)
    batch = read(both.SerializeToString())
    assert dict(batch.refused) == {reason: 2} and len(batch.facts) == 1


def test_other_fields_of_a_record() -> None:
    late, timeless, number, trace, long = record(), record(), record(), record(), record()
    late.time_unix_nano, late.observed_time_unix_nano = 0, 9
    timeless.time_unix_nano = 0
    number.body.int_value = 7
    trace.trace_id = b"\1" * 5
    long.body.string_value = "é" * 5000
    batch = read(request(late, timeless, number, trace, long).SerializeToString())
    assert (
        [f.at_ns for f in batch.facts] == [9, 5]
        and len(batch.facts[1].text) == 1024
        and batch.cut == 1
    )
    assert dict(batch.refused) == {"absent_field": 1, "wrong_type": 1, "malformed": 1}


def test_a_record_that_is_no_message_costs_itself_only() -> None:
    good = record().SerializeToString()
    deep = bytearray()
    for _ in range(
        200
    ):  # AnyValue { array_value { values { … more often than protobuf's readers go down
        deep = (
            bytearray(
                b"\x2a"
                + varint(len(deep) + 1 + len(varint(len(deep))))
                + b"\x0a"
                + varint(len(deep))
            )
            + deep
        )
    records = [
        good,
        b"\xff\xff",
        b"\x2a\x03\x0a\x01\xff",
        b"\x2a" + varint(len(deep)) + bytes(deep),
        good,
    ]
    scope = b"".join(b"\x12" + varint(len(r)) + r for r in records)
    resource = request().resource_logs[0].resource.SerializeToString()
    logs = b"\x0a" + varint(len(resource)) + resource + b"\x12" + varint(len(scope)) + scope
    batch = read(b"\x0a" + varint(len(logs)) + logs)
    assert len(batch.facts) == 2 and dict(batch.refused) == {"malformed": 3}


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


@pytest.mark.parametrize("level", ["resources", "scopes", "records", "others"])
def test_a_request_of_many_empty_messages_is_refused(level: str) -> None:
    many = RECORDS + 10
    scope = b"\x12\x00" * many
    logs = {
        "resources": b"",
        "scopes": scope,
        "records": b"\x12" + varint(len(scope)) + scope,
        "others": b"",
    }[level]
    bodies = {"resources": b"\x0a\x00" * many, "others": b"\x7a\x00" * many}
    with pytest.raises(DecodeError, match="more than"):
        read(bodies.get(level, b"\x0a" + varint(len(logs)) + logs))


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
