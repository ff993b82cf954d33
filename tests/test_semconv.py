"""The registry, its checker, and that no name is written twice."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from semconv.registry import ROOT, load
from tests.livecheck import check_json

RECEIVER = Path(__file__).parent.parent / "receiver"
# Words that are attribute names and also something else in these modules.
OTHER_MEANINGS = {"service.name": {"settings.py"}}


def test_the_registry_is_sound() -> None:
    registry = load()
    assert len(registry.attributes) > 40
    assert {
        "process.oom_killed",
        "process.killed",
        "file.partial_write",
        "pipeline.task.result_mismatch",
    } <= registry.events.keys()


SOUND: dict[str, dict[str, Any]] = {
    "attributes": {"key": "pipeline.x", "type": "int", "stability": "development", "brief": "X."},
    "events": {
        "name": "pipeline.e",
        "stability": "development",
        "requirement_level": "recommended",
        "brief": "X.",
        "annotations": {"severity": "INFO"},
        "attributes": [],
    },
    "metrics": {
        "name": "pipeline.x",
        "stability": "development",
        "requirement_level": "recommended",
        "brief": "X.",
        "instrument": "counter",
        "unit": "1",
        "attributes": [],
    },
    "spans": {
        "type": "pipeline.s",
        "stability": "development",
        "requirement_level": "recommended",
        "brief": "X.",
        "kind": "internal",
        "name": {"note": "s"},
        "attributes": [],
    },
    "entities": {
        "type": "pipeline.n",
        "stability": "development",
        "requirement_level": "recommended",
        "brief": "X.",
        "identity": [{"ref": "pipeline.name"}],
    },
    "attribute_groups": {"id": "attributes.x", "visibility": "internal", "attributes": []},
}
REMOVED = object()

# A section, what is wrong in an otherwise sound entry of it, and the fault that must be reported.
FAULTS: list[tuple[str, dict[str, Any], str]] = [
    (
        "attributes",
        {"key": "process.oom_killed.deep", "annotations": {"upstream_candidate": True}},
        "namespace",
    ),
    ("attributes", {"key": "pipeline.task_name"}, "only by"),
    ("attributes", {"key": "pipeline.Bad"}, "not a valid name"),
    ("attributes", {"type": "text"}, "unknown type"),
    ("attributes", {"brief": "no stop"}, "sentence"),
    ("attributes", {"key": "process.new"}, "upstream_candidate"),
    (
        "attributes",
        {"key": "process.pid", "annotations": {"upstream_candidate": True}},
        "defined here and upstream",
    ),
    ("attributes", {"type": {"members": []}}, "members"),
    ("attributes", {"type": {"members": [{"value": "a"}]}}, "id"),
    (
        "attributes",
        {"type": {"members": [{"id": "a", "value": "a"}, {"id": "a", "value": "b"}]}},
        "differ in their id",
    ),
    (
        "attributes",
        {"type": {"members": [{"id": "a", "value": "a"}, {"id": "b", "value": "a"}]}},
        "differ in their value",
    ),
    (
        "attributes",
        {"type": {"members": [{"id": "a", "value": "a", "level": 1}]}},
        "unknown key level",
    ),
    ("attributes", {"kind": "int"}, "unknown key kind"),
    ("attributes", {"requirement_level": "required"}, "unknown key requirement_level"),
    ("attributes", {"stability": REMOVED}, "stability is missing"),
    ("attributes", {"stability": "deprecated"}, "stability"),
    ("attributes", {"type": "string"}, "examples"),
    ("attributes", {"examples": ["1"]}, "examples"),
    ("attributes", {"examples": 1}, "examples"),
    ("attributes", {"examples": [True]}, "examples"),
    ("attributes", {"type": "double", "examples": [30]}, "examples"),
    ("attributes", {"type": "boolean", "examples": [1]}, "examples"),
    ("attributes", {"type": "string[]", "examples": ["a"]}, "examples"),
    ("attributes", {"deprecated": "use another"}, "deprecated"),
    ("attributes", {"deprecated": {"reason": "renamed"}}, "renamed_to"),
    ("attributes", {"deprecated": {"reason": "obsoleted"}}, "note"),
    ("attributes", {"deprecated": {"reason": "old", "note": "X."}}, "reason"),
    ("attributes", {"annotations": ["a"]}, "annotations"),
    ("attributes", {"key": 1}, "key must be a string"),
    (
        "attributes",
        {"deprecated": {"reason": "obsoleted", "note": "X.", "since": "1"}},
        "unknown key since",
    ),
    ("events", {"annotations": {"severity": "LOUD"}}, "severity"),
    ("events", {"attributes": [{"ref": "no.such"}]}, "no attribute"),
    ("events", {"attributes": [{"ref_group": "g"}]}, "no group"),
    (
        "events",
        {"attributes": [{"ref_group": "attributes.event", "requirement_level": "required"}]},
        "unknown key requirement_level",
    ),
    ("events", {"attributes": [{"ref": "process.pid", "level": "required"}]}, "unknown key level"),
    (
        "events",
        {"attributes": [{"ref": "process.pid", "stability": "stable"}]},
        "unknown key stability",
    ),
    (
        "events",
        {"attributes": [{"ref": "process.pid", "sampling_relevant": True}]},
        "unknown key sampling_relevant",
    ),
    (
        "events",
        {"attributes": [{"ref": "process.pid", "requirement_level": "optional"}]},
        "requirement level 'optional'",
    ),
    (
        "events",
        {"attributes": [{"ref": "process.pid", "requirement_level": {"required": "always"}}]},
        "requirement level",
    ),
    (
        "events",
        {
            "attributes": [
                {"ref": "process.pid", "requirement_level": {"conditionally_required": ""}}
            ]
        },
        "requirement level",
    ),
    (
        "events",
        {
            "attributes": [
                {"ref": "process.pid", "requirement_level": {"recommended": "a", "opt_in": "b"}}
            ]
        },
        "requirement level",
    ),
    ("events", {"attributes": [{"ref": "process.pid"}, {"ref": "process.pid"}]}, "twice"),
    (
        "events",
        {"attributes": [{"ref_group": "attributes.pipeline"}, {"ref_group": "attributes.metric"}]},
        "two of its groups have pipeline.system.name",
    ),
    ("events", {"attributes": ["process.pid"]}, "mapping"),
    ("events", {"attributes": [{"ref_group": 1}]}, "must have ref"),
    ("events", {"annotations": ["a"]}, "annotations"),
    ("events", {"entity_associations": [{"none_of": ["host"]}]}, "entity_associations"),
    ("events", {"requirement_level": REMOVED}, "requirement_level is missing"),
    ("events", {"requirement_level": "required"}, "requirement_level 'required'"),
    ("events", {"requirement_level": {"opt_in": "X."}}, "requirement_level"),
    ("events", {"name": "process.killed"}, "twice"),
    ("spans", {"requirement_level": REMOVED}, "requirement_level is missing"),
    ("spans", {"kind": "worker"}, "kind"),
    ("spans", {"name": "s"}, "name"),
    ("metrics", {"name": "pipeline.x_total"}, "not a valid name"),
    ("metrics", {"instrument": "meter"}, "instrument"),
    ("metrics", {"unit": REMOVED}, "unit is missing"),
    ("metrics", {"name": "pipeline.run"}, "namespace"),
    ("metrics", {"name": "process.signals_pending"}, "upstream"),
    ("metrics", {"requirement_level": REMOVED}, "requirement_level is missing"),
    ("entities", {"requirement_level": REMOVED}, "requirement_level is missing"),
    ("entities", {"identity": []}, "identity"),
    (
        "entities",
        {"identity": [{"ref": "pipeline.name", "requirement_level": "required"}]},
        "unknown key requirement_level",
    ),
    ("entities", {"identity": [{"ref": "no.such"}]}, "no attribute"),
    ("entities", {"description": [{"ref": "pipeline.name"}]}, "identity and description"),
    ("attribute_groups", {"visibility": REMOVED}, "visibility"),
    ("attribute_groups", {"visibility": "public", "stability": "development"}, "brief is missing"),
    ("attribute_groups", {"requirement_level": "recommended"}, "unknown key requirement_level"),
    ("attribute_groups", {"attributes": [{"ref": "no.such"}]}, "no attribute no.such"),
    ("attribute_groups", {"attributes": [{"ref_group": "attributes.event"}]}, "must have ref"),
    ("attribute_groups", {"id": "attributes.event"}, "twice"),
]


def copy_of_the_registry(tmp_path: Path) -> Path:
    root = tmp_path / "semconv"
    shutil.copytree(ROOT, root)
    return root


def add(root: Path, section: str, entry: Any, file: str = "extra.yaml") -> None:
    content = {"file_format": "definition/2", section: entry}
    (root / "model" / file).write_text(yaml.safe_dump(content))


def faults(root: Path) -> list[str]:
    try:
        load(root)
    except ValueError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("section", SOUND)
def test_a_sound_entry_has_no_fault(tmp_path: Path, section: str) -> None:
    root = copy_of_the_registry(tmp_path)
    add(root, section, [SOUND[section]])
    assert faults(root) == []


@pytest.mark.parametrize("section", SOUND)
def test_the_checker_finds_each_fault_and_no_other(tmp_path: Path, section: str) -> None:
    root = copy_of_the_registry(tmp_path)
    cases = [(change, message) for of, change, message in FAULTS if of == section]
    assert cases
    for change, message in cases:
        entry = {k: v for k, v in (SOUND[section] | change).items() if v is not REMOVED}
        add(root, section, [entry])
        found = faults(root)
        assert len(found) == 1 and message in found[0], (change, found)


def test_every_form_of_a_requirement_level_is_read(tmp_path: Path) -> None:
    root = copy_of_the_registry(tmp_path)
    levels: dict[str, Any] = {
        "process.pid": "required",
        "process.title": "opt_in",
        "file.path": {"conditionally_required": "if known"},
        "file.inode": {"recommended": "where it is cheap"},
        "file.size": {"opt_in": "it costs a system call"},
        "error.type": None,
    }
    refs = [
        {"ref": name} | ({"requirement_level": level} if level else {})
        for name, level in levels.items()
    ]
    add(root, "events", [SOUND["events"] | {"attributes": refs}])
    assert load(root).events["pipeline.e"].attributes == {
        "process.pid": "required",
        "process.title": "opt_in",
        "file.path": "conditionally_required",
        "file.inode": "recommended",
        "file.size": "opt_in",
        "error.type": "recommended",
    }


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
