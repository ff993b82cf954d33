"""Reads the event records of an OTLP request. Each one becomes a fact, is skipped or is refused.

This module walks the outer levels of a request and parses one record at a time. Parsed at once, 16
MiB of empty messages would become about 600 MiB of objects. One bad record would also invalidate
the whole request.

Sources: opentelemetry-proto, logs/v1 and collector/logs/v1; protobuf.dev; semconv/model for types.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from receiver import semconv as sc
from receiver.insights.runs import RemoteFact, is_kept
from receiver.signals import Value
from receiver.units import KIB

RECORDS = 65_536  # in one request, including the messages that contain them
RECORD_BYTES = 256 * KIB  # of one record, and of one resource
ATTRIBUTES = 128
TEXT = 1024  # bytes of a body and of a name
PATH = 4096  # PATH_MAX
HOST = 255
ADDRESSES, ADDRESS = 32, 64
PIDS = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h
_NUMBERS: dict[str, tuple[float, float]] = {
    sc.PROCESS_PID: (0, PIDS),
    sc.NETWORK_PEER_PORT: (0, 65_535),
    sc.SERVER_PORT: (0, 65_535),
    sc.PIPELINE_TASK_ATTEMPT: (0, 1 << 31),
    sc.PIPELINE_HYPOTHESIS_RANK: (0, 1 << 16),
    sc.PIPELINE_HYPOTHESIS_SCORE: (-1e4, 1e4),
    sc.PIPELINE_HYPOTHESIS_CONFIDENCE: (0, 1),
    sc.PIPELINE_OBSERVER_EVENTS_LOST: (0, (1 << 63) - 1),
}
_TEXTS = {
    sc.EVENT_NAME: TEXT,
    sc.LOG_RECORD_UID: HOST,
    sc.PROCESS_EXECUTABLE_NAME: PATH,
    sc.FILE_PATH: PATH,
    sc.NETWORK_PEER_ADDRESS: TEXT,
    sc.SERVER_ADDRESS: TEXT,
    sc.PIPELINE_SYSTEM_NAME: TEXT,
    sc.PIPELINE_NAME: TEXT,
    sc.PIPELINE_RUN_ID: TEXT,
    sc.PIPELINE_TASK_NAME: TEXT,
    sc.PIPELINE_TASK_RUN_RESULT: TEXT,
    sc.PIPELINE_TASK_RUN_REPORTED_RESULT: TEXT,
    sc.PIPELINE_INCIDENT_ID: HOST,
    sc.PIPELINE_INCIDENT_CAUSE: TEXT,
    sc.PIPELINE_HYPOTHESIS_CULPRIT: PATH + TEXT,
    sc.PIPELINE_OBSERVER_EVENT_KIND: TEXT,
    sc.PIPELINE_OBSERVER_LOSS_REASON: TEXT,
}
_NEEDED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (sc.EVENT_PROCESS_KILLED, sc.EVENT_PROCESS_OOM_KILLED, sc.EVENT_PROCESS_HANG),
        (sc.PROCESS_PID,),
    ),
    **dict.fromkeys(
        (sc.EVENT_FILE_PARTIAL_WRITE, sc.EVENT_FILE_TAINTED_READ, sc.EVENT_FILE_CONFLICT),
        (sc.FILE_PATH,),
    ),
    **dict.fromkeys(
        (
            sc.EVENT_PIPELINE_INCIDENT_OPENED,
            sc.EVENT_PIPELINE_INCIDENT_HYPOTHESIS,
            sc.EVENT_PIPELINE_INCIDENT_EVIDENCE,
        ),
        (sc.PIPELINE_INCIDENT_ID,),
    ),
}


class Batch(msgspec.Struct):
    """The content of one request.

    `refused` and `cut` count records. `passed` counts records of kinds that are not kept.
    """

    facts: list[RemoteFact] = []
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    passed: int = 0
    cut: int = 0

    @property
    def records(self) -> int:
        return len(self.facts) + self.passed + self.refused.total()


class _RefusedError(Exception):
    """A record was refused. The reason is one of a closed set."""


def read(body: bytes) -> Batch:
    """Reads a request.

    Raises DecodeError if it is not an ExportLogsServiceRequest or has more than RECORDS messages.
    """
    batch, left = Batch(), RECORDS
    for number, begin, end in _fields(body, 0, len(body)):
        left -= 1
        if left < 0:
            raise DecodeError(f"more than {RECORDS} messages in one request")
        if number != 1:
            continue
        inside = list(_first(_fields(body, begin, end), left))
        left -= len(inside)
        resource = _Resource([body[a:b] for n, a, b in inside if n == 1])
        for _, scope_begin, scope_end in (f for f in inside if f[0] == 2):
            for kind, at, to in _fields(body, scope_begin, scope_end):
                left -= 1
                if left < 0:
                    break
                if kind == 2:
                    _take(batch, resource, body[at:to])
        if left < 0:
            raise DecodeError(f"more than {RECORDS} messages in one request")
    return batch


def _first(fields: Iterator[tuple[int, int, int]], most: int) -> Iterator[tuple[int, int, int]]:
    for count, field in enumerate(fields):
        if count > most:
            raise DecodeError(f"more than {RECORDS} messages in one request")
        yield field


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yields (number, begin, end) of each length-delimited field and skips the others.

    Raises DecodeError if the data is not a message.
    """
    while at < end:
        tag, at = _varint(data, at, end)
        match tag & 7:
            case 2:
                size, at = _varint(data, at, end)
                if size > end - at:
                    raise DecodeError("truncated")
                yield tag >> 3, at, at + size
                at += size
            case 0:
                _, at = _varint(data, at, end)
            case 1:
                at += 8
            case 5:
                at += 4
            case _:
                raise DecodeError("a wire type that OTLP does not have")
    if at > end:
        raise DecodeError("truncated")


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise DecodeError("truncated")


class _Resource:
    """The host and addresses of a resource, or the reason to refuse all of its records."""

    def __init__(self, parts: list[bytes]) -> None:
        self.host, self.problem = "", ""
        self.addresses: tuple[str, ...] = ()
        try:
            values = _values(
                _parsed(Resource, b"".join(parts)).attributes, {sc.HOST_NAME: HOST}, (sc.HOST_IP,)
            )
            self.host = str(values.get(sc.HOST_NAME, ""))
            found = values.get(sc.HOST_IP, ())
            self.addresses = found if isinstance(found, tuple) else ()
        except _RefusedError as refused:
            self.problem = str(refused)


def _parsed(kind: Any, raw: bytes) -> Any:
    if len(raw) > RECORD_BYTES:
        raise _RefusedError("record_too_large")
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise _RefusedError("malformed") from None


def _take(batch: Batch, resource: _Resource, raw: bytes) -> None:
    try:
        record = _parsed(LogRecord, raw)
        kind = record.event_name or next(
            (a.value.string_value for a in record.attributes if a.key == sc.EVENT_NAME), ""
        )
        if not is_kept(kind, record.severity_number):
            batch.passed += 1
            return
        if resource.problem:
            raise _RefusedError(resource.problem)
        batch.facts.append(_fact(resource, kind, record))
        batch.cut += len(record.body.string_value) > TEXT
    except _RefusedError as refused:
        batch.refused[str(refused)] += 1


def _fact(resource: _Resource, kind: str, record: Any) -> RemoteFact:
    values = _values(record.attributes, _TEXTS)
    at_ns = record.time_unix_nano or record.observed_time_unix_nano
    if (
        not at_ns
        or not values.get(sc.LOG_RECORD_UID)
        or any(values.get(name) in (None, "") for name in _NEEDED.get(kind, ()))
    ):
        raise _RefusedError("absent_field")
    if record.body.WhichOneof("value") not in (None, "string_value"):
        raise _RefusedError("wrong_type")
    if len(record.trace_id) not in (0, 16) or len(record.span_id) not in (0, 8):
        raise _RefusedError("malformed")
    return RemoteFact(
        host=resource.host,
        addresses=resource.addresses,
        uid=str(values[sc.LOG_RECORD_UID]),
        at_ns=at_ns,
        kind=kind,
        severity=record.severity_number,
        text=record.body.string_value[:TEXT],
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        values=values,
    )


def _values(
    attributes: Sequence[KeyValue], texts: dict[str, int], lists: tuple[str, ...] = ()
) -> dict[str, Value]:
    """Returns the known attributes after a check.

    Unknown attributes are only checked for NaN and infinite numbers.
    """
    if len(attributes) > ATTRIBUTES:
        raise _RefusedError("too_many_attributes")
    found: dict[str, Value] = {}
    for attribute in attributes:
        key, raw = attribute.key, attribute.value
        if key in texts:
            found.setdefault(key, _text(raw, texts[key]))
        elif key in _NUMBERS:
            found.setdefault(key, _number(raw, *_NUMBERS[key]))
        elif key in lists:
            found.setdefault(key, _texts(raw))
        elif raw.WhichOneof("value") == "double_value" and not math.isfinite(raw.double_value):
            raise _RefusedError("not_finite")
    return found


def _text(raw: AnyValue, most: int) -> str:
    if raw.WhichOneof("value") != "string_value":
        raise _RefusedError("wrong_type")
    if len(raw.string_value) > most:
        # The text is not cut, because two cut texts could become equal.
        raise _RefusedError("text_too_long")
    return str(raw.string_value)


def _number(raw: AnyValue, low: float, high: float) -> int | float:
    value: int | float
    match raw.WhichOneof("value"):
        case "int_value":
            value = int(raw.int_value)
        case "double_value":
            value = float(raw.double_value)
        case _:
            raise _RefusedError("wrong_type")
    if not math.isfinite(value):
        raise _RefusedError("not_finite")
    if not low <= value <= high:
        raise _RefusedError("out_of_range")
    return value


def _texts(raw: AnyValue) -> tuple[str, ...]:
    if raw.WhichOneof("value") == "string_value":
        return (_text(raw, ADDRESS),)
    if raw.WhichOneof("value") != "array_value":
        raise _RefusedError("wrong_type")
    return tuple(_text(value, ADDRESS) for value in raw.array_value.values[:ADDRESSES])
