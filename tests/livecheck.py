"""The live check: what was really sent, against the registry in semconv/model."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from receiver.export.options import SignalName
from receiver.export.otlp_json import to_json
from semconv.registry import SEVERITIES, Registry, load

_SPAN_TYPES = (
    ("pipeline.run.result", "pipeline.run"),
    ("pipeline.task.run.result", "pipeline.task"),
)
_KINDS = {"server": 2, "internal": 1}
_INSTRUMENTS = {
    "counter": ("sum", True),
    "updowncounter": ("sum", False),
    "histogram": ("histogram", None),
    "gauge": ("gauge", None),
}


@cache
def registry() -> Registry:
    return load()


def values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    """OTLP/JSON attributes as Python values."""
    return {a["key"]: value(a["value"]) for a in attributes}


def value(raw: dict[str, Any]) -> Any:
    kind, content = next(iter(raw.items()))
    if kind == "intValue":
        return int(content)
    if kind == "doubleValue":
        return float(content)
    if kind == "arrayValue":
        return [value(v) for v in content.get("values", [])]
    return content


def check_bytes(signal: SignalName, body: bytes) -> list[str]:
    return check_json(json.loads(to_json(signal, body)))


def check_json(request: dict[str, Any]) -> list[str]:
    """Violations in one Export*ServiceRequest, OTLP/JSON."""
    found: list[str] = []
    for resources, scopes, items, check in (
        ("resourceSpans", "scopeSpans", "spans", _span),
        ("resourceLogs", "scopeLogs", "logRecords", _log),
        ("resourceMetrics", "scopeMetrics", "metrics", _metric),
    ):
        for resource in request.get(resources, []):
            names = values(resource["resource"]["attributes"])
            found += [
                f"resource: {n} is missing" for n in ("service.name", "host.name") if n not in names
            ]
            found += registry().misfits("resource", names)
            if resource.get("schemaUrl") != registry().schema_url:
                found.append("resource: schema url")
            for scope in resource[scopes]:
                if (
                    scope["scope"]["name"] != "receiver"
                    or scope.get("schemaUrl") != registry().schema_url
                ):
                    found.append(f"scope: {scope['scope']} {scope.get('schemaUrl')}")
                for item in scope[items]:
                    found += check(item)
    return found


def _span(span: dict[str, Any]) -> list[str]:
    names = values(span.get("attributes", []))
    kind = next((t for attribute, t in _SPAN_TYPES if attribute in names), "process.run")
    signal = registry().spans[kind]
    found = registry().violations(signal, values(span.get("attributes", [])))
    if span["kind"] != _KINDS[signal.raw["kind"]]:
        found.append(f"{kind}: kind {span['kind']}")
    failed = span.get("status", {}).get("code") == 2
    if failed != ("error.type" in values(span.get("attributes", []))):
        found.append(f"{kind}: error.type and the status disagree")
    for event in span.get("events", []):
        if event["name"] not in registry().events:
            found.append(f"{kind}: unknown span event {event['name']}")
        found += registry().misfits(
            f"{kind}: event {event['name']}", values(event.get("attributes", []))
        )
    for link in span.get("links", []):
        found += registry().misfits(f"{kind}: link", values(link.get("attributes", [])))
    if int(span["endTimeUnixNano"]) < int(span["startTimeUnixNano"]):
        found.append(f"{kind}: ends before it starts")
    return found


def _log(record: dict[str, Any]) -> list[str]:
    name = record.get("eventName", "")
    signal = registry().events.get(name)
    if signal is None:
        return [f"unknown event {name!r}"]
    attributes = values(record["attributes"])
    found = registry().violations(signal, attributes)
    allowed = signal.raw["annotations"]["severity"]
    numbers = {SEVERITIES[s] for s in (allowed if isinstance(allowed, list) else [allowed])}
    if record["severityNumber"] not in numbers:
        found.append(f"{name}: severity {record['severityNumber']}")
    if attributes.get("event.name") != name:
        found.append(f"{name}: event.name is {attributes.get('event.name')!r}")
    if not record["body"]["stringValue"].endswith("."):
        found.append(f"{name}: the body is no sentence")
    if int(record["observedTimeUnixNano"]) <= 0 or int(record["timeUnixNano"]) <= 0:
        found.append(f"{name}: a timestamp is missing")
    return found


def _metric(metric: dict[str, Any]) -> list[str]:
    name = metric["name"]
    found: list[str] = []
    signal = registry().metrics.get(name)
    raw = signal.raw if signal else registry().upstream_metrics.get(name)
    if raw is None:
        return [f"unknown metric {name}"]
    if signal is None and name not in registry().imported:
        return [f"{name}: is not imported from upstream"]
    shape, monotonic = _INSTRUMENTS[raw["instrument"]]
    if shape not in metric:
        return [f"{name}: is not a {raw['instrument']}"]
    if metric["unit"] != raw["unit"] or (
        monotonic is not None and metric[shape].get("isMonotonic", False) != monotonic
    ):
        found.append(f"{name}: unit or monotonicity")
    if signal:
        for point in metric[shape]["dataPoints"]:
            found += registry().violations(signal, values(point.get("attributes", [])))
    return found
