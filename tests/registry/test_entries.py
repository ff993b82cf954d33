"""The registry, and its checker, which finds what is wrong in an entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from semconv.registry import load
from tests.registry.entries import REMOVED, SOUND, add, copy_of_the_registry, faults


def test_the_registry_is_sound() -> None:
    registry = load()
    assert len(registry.attributes) > 40
    assert {
        "process.oom_killed",
        "process.killed",
        "file.partial_write",
        "pipeline.task.result_mismatch",
    } <= registry.events.keys()


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
