"""The files of the registry, its manifest, and what it takes from upstream."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from semconv.registry import load
from tests.livecheck import check_json
from tests.registry.entries import REMOVED, SOUND, add, copy_of_the_registry, faults


def test_a_file_that_is_no_definition_is_refused(tmp_path: Path) -> None:
    """weaver reads every YAML file below its registry folder and refused this one."""
    root = copy_of_the_registry(tmp_path)
    for place in ("upstream.yaml", "upstream.yml", "deep/er/upstream.yaml"):
        target = root / "model" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "upstream.yaml", target)
        found = faults(root)
        assert found and all(fault.startswith(place) for fault in found), found
        assert f"{place}: file_format must be definition/2" in found
        target.unlink()


MALFORMED = [
    ("- 1\n", "must be a mapping"),
    ("file_format: definition/2\ngroups: []\n", "unknown section groups"),
    ("file_format: definition/2\nevents: {}\n", "events must be a list"),
    ("file_format: definition/2\nevents: [x]\n", "must be a mapping"),
    ("file_format: definition/2\nevents: [\n", "not YAML"),
    ("file_format: definition/2\nimports: [metrics]\n", "imports must be a mapping"),
    ("file_format: definition/2\nimports: {metric: [a.b]}\n", "unknown section metric"),
    ("file_format: definition/2\nimports: {metrics: [a.b]}\n", "a.b is not in"),
]


def test_a_malformed_file_is_refused(tmp_path: Path) -> None:
    root = copy_of_the_registry(tmp_path)
    for content, message in MALFORMED:
        (root / "model" / "extra.yaml").write_text(content)
        found = faults(root)
        assert len(found) == 1 and message in found[0], (content, found)


def test_hidden_files_are_not_read_as_weaver_does_not(tmp_path: Path) -> None:
    root = copy_of_the_registry(tmp_path)
    (root / "model" / ".draft.yaml").write_text("no: definition\n")
    assert faults(root) == []


MANIFEST_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"dependencies": REMOVED}, "does not declare"),
    (
        {"dependencies": [{"schema_url": "https://opentelemetry.io/schemas/1.43.0"}]},
        "does not declare",
    ),
    ({"dependencies": [{"registry_path": "https://example.org/r.git[model]"}]}, "schema_url"),
    ({"schema_url": "kwitness/0.1.0"}, "schema_url"),
    ({"schema_url": REMOVED}, "schema_url"),
    ({"stability": "young"}, "stability"),
    ({"name": "kwitness"}, "unknown key name"),
]


def test_the_manifest_is_checked(tmp_path: Path) -> None:
    root = copy_of_the_registry(tmp_path)
    path = root / "model" / "manifest.yaml"
    sound = yaml.safe_load(path.read_text())
    for change, message in MANIFEST_FAULTS:
        manifest = {k: v for k, v in (sound | change).items() if v is not REMOVED}
        path.write_text(yaml.safe_dump(manifest))
        found = faults(root)
        assert len(found) == 1 and message in found[0], (change, found)


def test_upstream_attributes_come_from_a_declared_dependency(tmp_path: Path) -> None:
    """The live check of real runs missed log.record.uid: its registry must be a dependency."""
    root = copy_of_the_registry(tmp_path)
    path = root / "model" / "manifest.yaml"
    manifest = yaml.safe_load(path.read_text())
    del manifest["dependencies"]
    path.write_text(yaml.safe_dump(manifest))
    found = faults(root)
    assert any("log.record.uid" in fault for fault in found), found


def test_an_attribute_that_upstream_deprecated_is_ours_with_a_reason(tmp_path: Path) -> None:
    registry = load()
    assert "event.name" in registry.attributes and "event.name" not in registry.upstream
    assert "Loki" in registry.attributes["event.name"]["note"]
    root = copy_of_the_registry(tmp_path)
    path = root / "model" / "pipeline.yaml"
    model = yaml.safe_load(path.read_text())
    ours = next(a for a in model["attributes"] if a["key"] == "event.name")

    del ours["annotations"]
    path.write_text(yaml.safe_dump(model))
    assert [f for f in faults(root) if "event.name" in f and "deprecated_upstream" in f]

    model["attributes"].remove(ours)
    path.write_text(yaml.safe_dump(model))
    assert [f for f in faults(root) if "no attribute event.name" in f]


def test_no_signal_refers_to_a_deprecated_attribute(tmp_path: Path) -> None:
    """weaver's live check reports each record that carries one."""
    root = copy_of_the_registry(tmp_path)
    old = SOUND["attributes"] | {"deprecated": {"reason": "obsoleted", "note": "X."}}
    add(root, "attributes", [old], "old.yaml")
    assert faults(root) == []
    add(root, "events", [SOUND["events"] | {"attributes": [{"ref": "pipeline.x"}]}])
    found = faults(root)
    assert len(found) == 1 and "pipeline.x is deprecated" in found[0], found


def test_metrics_of_the_dependency_are_imported_before_they_are_sent() -> None:
    """Attributes of a dependency are referred to; its signals must be imported."""
    point = {"asInt": "1", "attributes": []}
    body = {"aggregationTemporality": 2, "isMonotonic": False, "dataPoints": [point]}
    metric = {"name": "process.signals_pending", "unit": "{signal}", "sum": body}
    resource = {
        "attributes": [
            {"key": n, "value": {"stringValue": "x"}} for n in ("service.name", "host.name")
        ]
    }
    url = load().schema_url
    scope = {"scope": {"name": "receiver"}, "schemaUrl": url, "metrics": [metric]}
    request = {
        "resourceMetrics": [{"resource": resource, "schemaUrl": url, "scopeMetrics": [scope]}]
    }
    assert check_json(request) == ["process.signals_pending: is not imported from upstream"]
    metric["name"], metric["unit"] = "otel.sdk.processor.log.queue.size", "{log_record}"
    assert check_json(request) == []
