"""The registry, its checker, and that no name is written twice."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
import yaml

from semconv.registry import ROOT, load

RECEIVER = Path(__file__).parent.parent / "receiver"
# Words that are attribute names and also something else in these modules.
OTHER_MEANINGS = {"service.name": {"settings.py"}}


def test_the_registry_is_sound() -> None:
    registry = load()
    assert len(registry.attributes) > 40
    assert {"process.oom_killed", "process.killed", "file.partial_write", "pipeline.task.result_mismatch"} <= registry.events.keys()


FAULTS = [
    ("attributes", {"key": "process.oom_killed.deep", "type": "int", "stability": "development", "brief": "X.", "annotations": {"upstream_candidate": True}}, "namespace"),
    ("attributes", {"key": "pipeline.task_name", "type": "string", "stability": "development", "brief": "X."}, "only by"),
    ("attributes", {"key": "pipeline.Bad", "type": "string", "stability": "development", "brief": "X."}, "not a valid name"),
    ("attributes", {"key": "pipeline.x", "type": "text", "stability": "development", "brief": "X."}, "unknown type"),
    ("attributes", {"key": "pipeline.x", "type": "int", "stability": "development", "brief": "no stop"}, "sentence"),
    ("attributes", {"key": "process.new", "type": "int", "stability": "development", "brief": "X."}, "upstream_candidate"),
    ("attributes", {"key": "process.pid", "type": "int", "stability": "development", "brief": "X."}, "defined here and upstream"),
    ("attributes", {"key": "pipeline.x", "type": {"members": []}, "stability": "development", "brief": "X."}, "members"),
    ("attributes", {"key": "pipeline.x", "kind": "int", "type": "int", "stability": "development", "brief": "X."}, "unknown key"),
    ("events", {"name": "pipeline.e", "stability": "development", "brief": "X.", "annotations": {"severity": "LOUD"}, "attributes": []}, "severity"),
    ("events", {"name": "pipeline.e", "stability": "development", "brief": "X.", "annotations": {"severity": "INFO"}, "attributes": [{"ref": "no.such"}]}, "no attribute"),
    ("events", {"name": "pipeline.e", "stability": "development", "brief": "X.", "annotations": {"severity": "INFO"}, "attributes": [{"ref_group": "g"}]}, "no group"),
    ("metrics", {"name": "pipeline.x_total", "stability": "development", "brief": "X.", "instrument": "counter", "unit": "1", "attributes": []}, "not a valid name"),
    ("metrics", {"name": "pipeline.x", "stability": "development", "brief": "X.", "instrument": "meter", "unit": "1", "attributes": []}, "instrument"),
    ("metrics", {"name": "pipeline.run", "stability": "development", "brief": "X.", "instrument": "counter", "unit": "1", "attributes": []}, "namespace"),
    ("metrics", {"name": "process.signals_pending", "stability": "development", "brief": "X.", "instrument": "counter", "unit": "1", "attributes": []}, "upstream"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "entry", "message"), FAULTS)
def test_the_checker_finds_faults(tmp_path: Path, section: str, entry: dict[str, object], message: str) -> None:
    root = tmp_path / "semconv"
    shutil.copytree(ROOT, root)
    (root / "model" / "extra.yaml").write_text(yaml.safe_dump({"file_format": "definition/2", section: [entry]}))
    with pytest.raises(ValueError, match=message):
        load(root)


def test_the_live_check_finds_violations() -> None:
    registry = load()
    event = registry.events["process.killed"]
    found = registry.violations(event, {"process.pid": "7", "made.up": 1, "pipeline.task.type": "cobol", "process.exit.code": True})
    text = "\n".join(found)
    for part in (
        "process.pid must be int",
        "made.up is not in the registry",
        "'cobol'",
        "event.name is required",
        "process.exit.code must be int",
    ):
        assert part in text


def test_attribute_names_are_written_in_the_generated_module_only() -> None:
    registry = load()
    names = registry.attributes.keys() | registry.upstream.keys() | registry.events.keys() | registry.metrics.keys()
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
