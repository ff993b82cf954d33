"""Reads and checks the registry. Weaver cannot be had everywhere; this checks what it would, as far as we depend on it.

`load` gives a Registry or raises ValueError with every fault in it; `Registry.violations` is the live check: what a signal
that was really sent does against the registry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent
NAME = re.compile(r"^[a-z][a-z0-9]*([._][a-z0-9]+)*$")
TYPES = {"string", "int", "double", "boolean", "string[]", "int[]", "double[]", "boolean[]"}
INSTRUMENTS = {"counter", "updowncounter", "gauge", "histogram"}
STABILITY = {"development", "alpha", "beta", "release_candidate", "stable"}
LEVELS = {"required", "recommended", "opt_in"}
KEYS = {
    "attributes": {"key", "type", "brief", "stability", "examples", "note", "deprecated", "annotations"},
    "attribute_groups": {"id", "visibility", "attributes", "brief"},
    "entities": {"type", "identity", "description", "brief", "stability"},
    "spans": {"type", "kind", "name", "brief", "note", "stability", "attributes", "entity_associations", "annotations"},
    "events": {"name", "brief", "note", "stability", "attributes", "annotations"},
    "metrics": {"name", "brief", "note", "instrument", "unit", "stability", "attributes", "annotations"},
}
SEVERITIES = {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}
Raw = dict[str, Any]


@dataclass
class Signal:
    """A span, event or metric with its attributes resolved: name -> requirement level."""

    name: str
    raw: Raw
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass
class Registry:
    schema_url: str
    version: str
    attributes: dict[str, Raw]
    upstream: dict[str, str]
    spans: dict[str, Signal]
    events: dict[str, Signal]
    metrics: dict[str, Signal]
    upstream_metrics: dict[str, Raw]

    def type_of(self, name: str) -> str | None:
        """`enum`, or a type of TYPES; None for a name that stands nowhere."""
        if name in self.attributes:
            kind = self.attributes[name]["type"]
            return "enum" if isinstance(kind, dict) else str(kind)
        return self.upstream.get(name)

    def members(self, name: str) -> set[str]:
        return {m["value"] for m in self.attributes[name]["type"]["members"]}

    def violations(self, signal: Signal, values: dict[str, Any]) -> list[str]:
        """What is wrong with attributes as they were sent, against what the registry says of this signal."""
        found = [
            f"{signal.name}: {n} is required" for n, level in signal.attributes.items() if level == "required" and n not in values
        ]
        for name, value in values.items():
            kind = self.type_of(name)
            if kind is None or name not in signal.attributes:
                found.append(f"{signal.name}: {name} is not in the registry for it")
            elif kind == "enum" and value not in self.members(name):
                found.append(f"{signal.name}: {name} is {value!r}")
            elif not _fits(kind, value):
                found.append(f"{signal.name}: {name} must be {kind}, is {value!r}")
        return found


def _fits(kind: str, value: Any) -> bool:
    if kind.endswith("[]"):
        return isinstance(value, list | tuple) and all(_fits(kind[:-2], v) for v in value)
    expected = {"string": str, "enum": str, "int": int, "double": float, "boolean": bool}[kind]
    return isinstance(value, expected) and (kind != "int" or not isinstance(value, bool))


def load(root: Path = ROOT) -> Registry:
    """All files of `root`/model, checked."""
    manifest = yaml.safe_load((root / "manifest.yaml").read_text())
    upstream = yaml.safe_load((root / "upstream.yaml").read_text())
    merged: dict[str, list[Raw]] = {key: [] for key in KEYS}
    faults: list[str] = []
    for path in sorted((root / "model").glob("*.yaml")):
        raw = yaml.safe_load(path.read_text())
        if raw.pop("file_format", None) != "definition/2":
            faults.append(f"{path.name}: file_format must be definition/2")
        for key, entries in raw.items():
            if key not in KEYS:
                faults.append(f"{path.name}: unknown section {key}")
                continue
            merged[key] += entries
    faults += _check_shapes(merged)
    attributes = {a["key"]: a for a in merged["attributes"]}
    if len(attributes) != len(merged["attributes"]):
        faults.append("an attribute is defined twice")
    faults += _check_attributes(attributes, upstream["attributes"])
    groups = {g["id"]: g for g in merged["attribute_groups"]}
    known = attributes.keys() | upstream["attributes"].keys()
    resolved = {
        kind: {s[key]: Signal(s[key], s, _resolve(s[key], s["attributes"], groups, known, faults)) for s in merged[kind]}
        for kind, key in (("spans", "type"), ("events", "name"), ("metrics", "name"))
    }
    faults += _check_signals(resolved["events"], resolved["metrics"], upstream["metrics"])
    if faults:
        raise ValueError("\n".join(faults))
    url = manifest["schema_url"]
    return Registry(
        url, url.rpartition("/")[2], attributes, upstream["attributes"], **resolved, upstream_metrics=upstream["metrics"]
    )


def _check_shapes(merged: dict[str, list[Raw]]) -> list[str]:
    faults = []
    for section, entries in merged.items():
        for entry in entries:
            label = entry.get("key") or entry.get("name") or entry.get("type") or entry.get("id")
            faults += [f"{section} {label}: unknown key {k}" for k in entry.keys() - KEYS[section]]
            if section == "attribute_groups":
                continue
            if entry.get("stability") not in STABILITY:
                faults.append(f"{section} {label}: stability {entry.get('stability')!r}")
            if not str(entry.get("brief", "")).endswith("."):
                faults.append(f"{section} {label}: the brief must be a sentence")
    return faults


def _check_attributes(attributes: dict[str, Raw], upstream: dict[str, str]) -> list[str]:
    faults = []
    names = attributes.keys() | upstream.keys()
    folded: dict[str, str] = {}
    for name in sorted(names):
        if not NAME.match(name):
            faults.append(f"{name}: not a valid name")
        if name in attributes and name in upstream:
            faults.append(f"{name}: defined here and upstream")
        below = [other for other in names if other.startswith(name + ".")]
        if below:
            faults.append(f"{name}: is an attribute and a namespace of {below[0]}")
        clash = folded.setdefault(name.replace(".", "_"), name)
        if clash != name:
            faults.append(f"{name}: differs from {clash} only by . and _")
    for name, raw in attributes.items():
        kind = raw["type"]
        if isinstance(kind, dict):
            values = [m["value"] for m in kind.get("members", [])]
            if not values or len(set(values)) != len(values):
                faults.append(f"{name}: enum members must be there, and differ")
        elif kind not in TYPES:
            faults.append(f"{name}: unknown type {kind}")
        if not name.startswith("pipeline.") and not raw.get("annotations", {}).get("upstream_candidate"):
            faults.append(f"{name}: stands in an upstream namespace without being marked upstream_candidate")
    return faults


def _resolve(owner: str, entries: list[Raw], groups: dict[str, Raw], known: set[str], faults: list[str]) -> dict[str, str]:
    out: dict[str, str] = {}
    for entry in entries:
        if group := entry.get("ref_group"):
            if group not in groups:
                faults.append(f"{owner}: no group {group}")
                continue
            out |= _resolve(owner, groups[group]["attributes"], groups, known, faults)
            continue
        level = entry.get("requirement_level", "recommended")
        if isinstance(level, dict):
            level = next(iter(level))
            if level != "conditionally_required":
                faults.append(f"{owner}: requirement level {level}")
        elif level not in LEVELS:
            faults.append(f"{owner}: requirement level {level}")
        if entry["ref"] not in known:
            faults.append(f"{owner}: no attribute {entry['ref']}")
        out[entry["ref"]] = level
    return out


def _check_signals(events: dict[str, Signal], metrics: dict[str, Signal], upstream: dict[str, Raw]) -> list[str]:
    faults = []
    for name, event in events.items():
        severity = event.raw.get("annotations", {}).get("severity", [])
        allowed = severity if isinstance(severity, list) else [severity]
        if not allowed or set(allowed) - SEVERITIES.keys():
            faults.append(f"event {name}: severity {severity!r}")
        if not NAME.match(name):
            faults.append(f"event {name}: not a valid name")
    for name, metric in metrics.items():
        if not NAME.match(name) or name.endswith(("_total", ".total")):
            faults.append(f"metric {name}: not a valid name")
        if metric.raw["instrument"] not in INSTRUMENTS:
            faults.append(f"metric {name}: instrument {metric.raw['instrument']}")
        if name in upstream:
            faults.append(f"metric {name}: defined upstream")
        if any(other.startswith(name + ".") for other in metrics):
            faults.append(f"metric {name}: is a namespace of another metric")
    return faults
