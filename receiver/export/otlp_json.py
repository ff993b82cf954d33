"""OTLP/JSON: the protobuf JSON mapping, except that ids are hex.

Source: OTLP specification, "JSON Protobuf Encoding". It is not the hot path, so it uses the
generated classes.
"""

from __future__ import annotations

import base64
import importlib
import json
from functools import cache
from typing import Any

from receiver.export.options import SignalName

_MODULES = {
    "traces": ("trace.v1.trace_service_pb2", "ExportTraceServiceRequest"),
    "metrics": ("metrics.v1.metrics_service_pb2", "ExportMetricsServiceRequest"),
    "logs": ("logs.v1.logs_service_pb2", "ExportLogsServiceRequest"),
}
_IDS = {"traceId", "spanId", "parentSpanId"}


@cache
def _message(signal: SignalName) -> Any:
    module, name = _MODULES[signal]
    return getattr(importlib.import_module(f"opentelemetry.proto.collector.{module}"), name)


def to_json(signal: SignalName, request: bytes) -> bytes:
    """One Export*ServiceRequest as one line of JSON, without a line end."""
    from google.protobuf.json_format import MessageToDict

    content = MessageToDict(_message(signal).FromString(request), use_integers_for_enums=True)
    _hex_ids(content)
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def _hex_ids(node: Any) -> None:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in _IDS and isinstance(value, str):
                node[key] = base64.b64decode(value).hex()
            else:
                _hex_ids(value)
    elif isinstance(node, list):
        for entry in node:
            _hex_ids(entry)
