"""The check of what is sent, and that no name is written twice."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from semconv.registry import load
from tests.livecheck import check_json

RECEIVER = Path(__file__).parent.parent.parent / "receiver"

# Words that are attribute names and also something else in these modules.
OTHER_MEANINGS = {"service.name": {"settings.py"}}


def test_the_live_check_finds_violations() -> None:
    registry = load()
    event = registry.events["process.killed"]
    found = registry.violations(
        event,
        {
            "process.pid": "7",
            "made.up": 1,
            "pipeline.task.type": "cobol",
            "process.exit.code": True,
        },
    )
    text = "\n".join(found)
    for part in (
        "process.pid must be int",
        "made.up is not in the registry",
        "'cobol'",
        "event.name is required",
        "process.exit.code must be int",
    ):
        assert part in text


def test_the_live_check_reads_resources_links_and_span_events() -> None:
    def attributes(**strings: str) -> list[dict[str, Any]]:
        return [
            {"key": k.replace("_", "."), "value": {"stringValue": v}} for k, v in strings.items()
        ]

    url = load().schema_url
    span = {
        "kind": 1,
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "2",
        "attributes": [],
        "links": [{"attributes": attributes(made_link="x")}],
        "events": [{"name": "process.killed", "attributes": attributes(process_pid="7")}],
    }
    request = {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": attributes(service_name="x", host_name="h", made_up="x")
                },
                "schemaUrl": url,
                "scopeSpans": [{"scope": {"name": "receiver"}, "schemaUrl": url, "spans": [span]}],
            }
        ]
    }
    found = [f for f in check_json(request) if "is required" not in f]
    assert found == [
        "resource: made.up is not in the registry",
        "process.run: event process.killed: process.pid must be int, is '7'",
        "process.run: link: made.link is not in the registry",
    ]


def test_attribute_names_are_written_in_the_generated_module_only() -> None:
    registry = load()
    names = (
        registry.attributes.keys()
        | registry.upstream.keys()
        | registry.events.keys()
        | registry.metrics.keys()
    )
    found = []
    for path in RECEIVER.rglob("*.py"):
        if path.name == "semconv.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Constant)
                and node.value in names
                and path.name not in OTHER_MEANINGS.get(str(node.value), set())
            ):
                found.append(f"{path.relative_to(RECEIVER)}:{node.lineno}: {node.value}")
    assert found == []
