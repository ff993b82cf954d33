"""Reads and checks the registry: the model that weaver reads, and the upstream facts beside it.

`load` returns a Registry or raises ValueError with all faults. `Registry.violations` is the live
check: it compares an emitted signal with the registry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semconv import definition
from semconv.definition import Raw
from semconv.sources import files, parse
from semconv.syntax import MANIFEST, SECTIONS

ROOT = Path(__file__).parent
NAME = re.compile(r"^[a-z][a-z0-9]*([._][a-z0-9]+)*$")
SEVERITIES = {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}


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
    imported: set[str]  # names of the upstream metrics that kwitness emits

    def type_of(self, name: str) -> str | None:
        """`enum`, or a type of TYPES; None for an unknown name."""
        if name in self.attributes:
            kind = self.attributes[name]["type"]
            return "enum" if isinstance(kind, dict) else str(kind)
        return self.upstream.get(name)

    def members(self, name: str) -> set[str]:
        return {m["value"] for m in self.attributes[name]["type"]["members"]}

    def violations(self, signal: Signal, values: dict[str, Any]) -> list[str]:
        """The violations of emitted attributes against the registry's entry for this signal."""
        found = [
            f"{signal.name}: {n} is required"
            for n, level in signal.attributes.items()
            if level == "required" and n not in values
        ]
        found += [
            f"{signal.name}: {n} is not in the registry for it"
            for n in values
            if n not in signal.attributes and self.type_of(n) is not None
        ]
        return found + self.misfits(signal.name, values)

    def misfits(self, where: str, values: dict[str, Any]) -> list[str]:
        """The attributes that the registry lacks, or whose value has another type."""
        found = []
        for name, value in values.items():
            kind = self.type_of(name)
            if kind is None:
                found.append(f"{where}: {name} is not in the registry")
            elif kind == "enum" and value not in self.members(name):
                found.append(f"{where}: {name} is {value!r}")
            elif not _fits(kind, value):
                found.append(f"{where}: {name} must be {kind}, is {value!r}")
        return found


def _fits(kind: str, value: Any) -> bool:
    if kind.endswith("[]"):
        return isinstance(value, list | tuple) and all(_fits(kind[:-2], v) for v in value)
    expected = {"string": str, "enum": str, "int": int, "double": float, "boolean": bool}[kind]
    return isinstance(value, expected) and (kind != "int" or not isinstance(value, bool))


def load(root: Path = ROOT) -> Registry:
    """The registry in `root`/model with the upstream facts beside it, checked.

    Raises ValueError with one fault in each line: those of the syntax, or if there are none,
    those of the meaning.
    """
    folder = root / "model"
    upstream = parse(root / "upstream.yaml")
    manifest = parse(folder / MANIFEST)
    faults = definition.check_manifest(manifest)
    merged, imports = _merged(folder, faults)
    if faults:  # references are followed only in well-formed files
        raise ValueError("\n".join(faults))
    faults += _check_names(merged)
    attributes = {a["key"]: a for a in merged["attributes"]}
    faults += _check_attributes(attributes, upstream)
    resolver = _Resolver(
        attributes, upstream["attributes"], {g["id"]: g for g in merged["attribute_groups"]}
    )
    for name in resolver.groups:
        resolver.group(name, name)
    spans = {s["type"]: resolver.signal(s["type"], s) for s in merged["spans"]}
    events = {s["name"]: resolver.signal(s["name"], s) for s in merged["events"]}
    metrics = {s["name"]: resolver.signal(s["name"], s) for s in merged["metrics"]}
    for entity in merged["entities"]:
        parts = [*entity.get("identity", []), *entity.get("description", [])]
        resolver.signal(entity["type"], {"attributes": parts})
    faults += resolver.faults + _check_signals(events, metrics, upstream["metrics"])
    faults += _check_dependency(manifest, upstream, resolver.from_upstream, imports)
    if faults:
        raise ValueError("\n".join(faults))
    return Registry(
        schema_url=manifest["schema_url"],
        version=manifest["schema_url"].rpartition("/")[2],
        attributes=attributes,
        upstream=upstream["attributes"],
        spans=spans,
        events=events,
        metrics=metrics,
        upstream_metrics=upstream["metrics"],
        imported=imports,
    )


def _merged(folder: Path, faults: list[str]) -> tuple[dict[str, list[Raw]], set[str]]:
    """The entries of all files, by section, and the names that they import. Adds to `faults`."""
    merged: dict[str, list[Raw]] = {key: [] for key in SECTIONS}
    imports: set[str] = set()
    for path in files(folder):
        sections, found = definition.read(path, path.relative_to(folder).as_posix())
        faults += found
        if found:
            continue
        for names in sections.pop("imports", {}).values():
            imports.update(names)
        for key, entries in sections.items():
            merged[key] += entries
    return merged, imports


def _check_names(merged: dict[str, list[Raw]]) -> list[str]:
    faults = []
    for key, entries in merged.items():
        names = [entry[SECTIONS[key].name] for entry in entries]
        faults += [f"{key} {n}: is defined twice" for n in {n for n in names if names.count(n) > 1}]
    return faults


def _check_attributes(attributes: dict[str, Raw], upstream: Raw) -> list[str]:
    faults = []
    names = attributes.keys() | upstream["attributes"].keys()
    folded: dict[str, str] = {}
    for name in sorted(names):
        if not NAME.match(name):
            faults.append(f"{name}: not a valid name")
        if name in attributes and name in upstream["attributes"]:
            faults.append(f"{name}: defined here and upstream")
        below = [other for other in names if other.startswith(name + ".")]
        if below:
            faults.append(f"{name}: is an attribute and a namespace of {below[0]}")
        clash = folded.setdefault(name.replace(".", "_"), name)
        if clash != name:
            faults.append(f"{name}: differs from {clash} only by . and _")
    for name, raw in attributes.items():
        annotations = raw.get("annotations", {})
        if name.startswith("pipeline."):
            continue
        if name in upstream["deprecated"]:
            if not annotations.get("deprecated_upstream") or not raw.get("note"):
                faults.append(
                    f"{name}: upstream deprecated it; annotations.deprecated_upstream must give"
                    " upstream's reason, and the note ours for sending it"
                )
        elif not annotations.get("upstream_candidate") and name not in upstream["attributes"]:
            faults.append(f"{name}: is in an upstream namespace and is no upstream_candidate")
    return faults


class _Resolver:
    """Follows references and group references of signals, and collects their faults."""

    def __init__(
        self, attributes: dict[str, Raw], upstream: dict[str, str], groups: dict[str, Raw]
    ) -> None:
        self._attributes, self._upstream, self.groups = attributes, upstream, groups
        self.faults: list[str] = []
        self.from_upstream: set[str] = set()

    def signal(self, name: str, raw: Raw) -> Signal:
        """The signal with its attributes; its own references refine those of its groups."""
        entries = raw.get("attributes", [])
        found: dict[str, str] = {}
        for entry in entries:
            if "ref_group" in entry:
                group = self.group(name, entry["ref_group"])
                if both := ", ".join(n for n in group if n in found):
                    self.faults.append(f"{name}: two of its groups have {both}")
                found |= group
        for entry in entries:
            if "ref" in entry:
                self._check(name, entry["ref"])
                found[entry["ref"]] = definition.level_of(entry)
        return Signal(name, raw, found)

    def group(self, owner: str, name: str) -> dict[str, str]:
        """The attributes of a group, for the owner that refers to it."""
        if name not in self.groups:
            self.faults.append(f"{owner}: no group {name}")
            return {}
        references = self.groups[name].get("attributes", [])
        for reference in references:
            self._check(name, reference["ref"])
        return {r["ref"]: definition.level_of(r) for r in references}

    def _check(self, owner: str, name: str) -> None:
        fault = ""
        if name in self._upstream:
            self.from_upstream.add(name)
        elif name not in self._attributes:
            fault = f"{owner}: no attribute {name}"
        elif "deprecated" in self._attributes[name]:
            fault = f"{owner}: {name} is deprecated"
        if fault and fault not in self.faults:  # a group is followed once for each of its signals
            self.faults.append(fault)


def _check_dependency(
    manifest: Raw, upstream: Raw, attributes: set[str], imports: set[str]
) -> list[str]:
    """Names that the model takes from upstream need the dependency that defines them."""
    known = upstream["metrics"].keys()
    faults = [f"imports: {name} is not in upstream.yaml" for name in sorted(imports - known)]
    url = upstream["schema_url"]
    declared = {d.get("schema_url") for d in manifest.get("dependencies", [])}
    if url not in declared:
        names = ", ".join(sorted(attributes | imports))
        faults.append(f"{MANIFEST}: does not declare {url}, which defines {names}")
    return faults


def _check_signals(
    events: dict[str, Signal], metrics: dict[str, Signal], upstream: dict[str, Raw]
) -> list[str]:
    faults = []
    for name, event in events.items():
        severity = event.raw.get("annotations", {}).get("severity", [])
        allowed = severity if isinstance(severity, list) else [severity]
        if not allowed or set(allowed) - SEVERITIES.keys():
            faults.append(f"event {name}: severity {severity!r}")
        if not NAME.match(name):
            faults.append(f"event {name}: not a valid name")
    for name in metrics:
        if not NAME.match(name) or name.endswith(("_total", ".total")):
            faults.append(f"metric {name}: not a valid name")
        if name in upstream:
            faults.append(f"metric {name}: defined upstream")
        if any(other.startswith(name + ".") for other in metrics):
            faults.append(f"metric {name}: is a namespace of another metric")
    return faults
