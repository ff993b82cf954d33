"""Whatever a sender writes into a request: each record becomes a fact, is passed over, or is
refused by itself; nothing raises."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from receiver.insights.records import RECORD_BYTES, RECORDS, read
from tests.insights.requests import record, request


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
