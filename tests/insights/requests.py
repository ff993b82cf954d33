"""Requests with records of every form."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber

from receiver import semconv as sc

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
