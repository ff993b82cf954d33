"""The syntax of OpenTelemetry weaver's `definition/2` files, as far as this model uses it.

No package registry has weaver. These rules refuse everything that the documentation and the release
notes of weaver 0.25 to 0.28 call an error or a warning, and everything that weaver 0.25.1 reported
when it was run on this model once. They do not replace a run of weaver. Sections that this model
does not use (refinements) are refused.

Every function returns faults, one sentence each; an empty list means that there are none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from semconv.sources import parse
from semconv.syntax import (
    DEPRECATIONS,
    EXPLAINED_LEVELS,
    FORMAT,
    IMPORTS,
    INSTRUMENTS,
    KINDS,
    LEVELS,
    MANIFEST,
    MEMBER,
    PUBLIC_GROUP,
    REFERENCE,
    SCHEMA_URL,
    SECTIONS,
    SIGNAL_LEVELS,
    STABILITY,
    TYPES,
    Section,
)

Raw = dict[str, Any]


def read(path: Path, label: str) -> tuple[Raw, list[str]]:
    """The sections of a file, and its faults. Do not use the sections if there are faults."""
    try:
        raw = parse(path)
    except yaml.YAMLError as error:
        return {}, [f"{label}: not YAML: {' '.join(str(error).split())}"]
    if not isinstance(raw, dict):
        return {}, [f"{label}: a definition file must be a mapping"]
    faults = []
    if raw.pop("file_format", None) != FORMAT:
        faults.append(f"{label}: file_format must be {FORMAT}")
    sections: Raw = {}
    for key, entries in raw.items():
        if key == "imports":
            wrong = _imports(entries)
            sections[key] = entries
        elif key not in SECTIONS:
            wrong = [f"unknown section {key}"]
        elif not isinstance(entries, list):
            wrong = [f"{key} must be a list"]
        else:
            wrong = [fault for entry in entries for fault in check_entry(key, entry)]
            sections[key] = entries
        faults += [f"{label}: {fault}" for fault in wrong]
    return sections, faults


def check_manifest(raw: Any) -> list[str]:
    """A registry manifest: the registry's own schema URL, and the registries that it refers to."""
    if not isinstance(raw, dict):
        return [f"{MANIFEST}: must be a mapping"]
    known = {"schema_url", "description", "stability", "dependencies"}
    faults = [f"{MANIFEST}: unknown key {key}" for key in raw.keys() - known]
    if not SCHEMA_URL.match(str(raw.get("schema_url"))):
        faults.append(f"{MANIFEST}: schema_url must be http[s]://HOST/PATH/VERSION")
    if raw.get("stability") not in STABILITY:
        faults.append(f"{MANIFEST}: stability {raw.get('stability')!r}")
    for dependency in raw.get("dependencies", []):
        faults += [
            f"{MANIFEST}: dependency: unknown key {key}"
            for key in dependency.keys() - {"schema_url", "registry_path"}
        ]
        if not SCHEMA_URL.match(str(dependency.get("schema_url"))):
            faults.append(f"{MANIFEST}: a dependency needs a schema_url that ends with a version")
    return faults


def check_entry(section: str, entry: Any) -> list[str]:
    """One attribute, group, entity, span, event or metric."""
    keys = SECTIONS[section]
    if not isinstance(entry, dict):
        return [f"{section}: {entry!r} must be a mapping"]
    if section == "attribute_groups" and entry.get("visibility") == "public":
        keys = PUBLIC_GROUP
    faults = _keys(entry, keys) + _common(entry)
    if not isinstance(entry.get(keys.name, ""), str):
        faults.append(f"{keys.name} must be a string")
    if section == "attributes":
        faults += _attribute_type(entry)
    elif section == "attribute_groups":
        if entry.get("visibility", "public") not in ("public", "internal"):
            faults.append(f"visibility {entry['visibility']!r}")
        faults += _references(entry.get("attributes", []), groups=False)
    else:
        faults += _signal(section, entry)
    return [f"{section} {entry.get(keys.name)}: {fault}" for fault in faults]


def level_of(reference: Raw) -> str:
    """The requirement level of a reference without its condition."""
    level = reference.get("requirement_level", "recommended")
    return next(iter(level)) if isinstance(level, dict) else str(level)


def _keys(entry: Raw, section: Section) -> list[str]:
    faults = [
        f"unknown key {key}" for key in sorted(entry.keys() - section.required - section.optional)
    ]
    for key in sorted(section.required - entry.keys()):
        hint = ""
        if key == "requirement_level":
            hint = ": " + " or ".join(f"{k} ({v})" for k, v in SIGNAL_LEVELS.items())
        faults.append(f"{key} is missing{hint}")
    return faults


def _common(entry: Raw) -> list[str]:
    faults = []
    if "stability" in entry and entry["stability"] not in STABILITY:
        faults.append(f"stability {entry['stability']!r}")
    if "brief" in entry and not str(entry["brief"]).endswith("."):
        faults.append("the brief must be a sentence")
    if not isinstance(entry.get("annotations", {}), dict):
        faults.append("annotations must be a mapping")
    if "deprecated" in entry:
        faults += _deprecated(entry["deprecated"])
    return faults


def _deprecated(raw: Any) -> list[str]:
    if not isinstance(raw, dict):
        return ["deprecated must be a mapping with a reason"]
    if raw.get("reason") not in DEPRECATIONS:
        return [f"deprecated: the reason must be one of {', '.join(DEPRECATIONS)}"]
    needed = DEPRECATIONS[raw["reason"]]
    faults = [f"deprecated: {key} is missing" for key in needed - raw.keys()]
    return faults + [
        f"deprecated: unknown key {k}" for k in raw.keys() - needed - {"reason", "note"}
    ]


def _attribute_type(entry: Raw) -> list[str]:
    kind = entry.get("type")
    if isinstance(kind, dict):
        return _members(kind)
    if kind not in TYPES:
        return [f"unknown type {kind}"] if "type" in entry else []
    examples = entry.get("examples")
    if examples is None:
        needed = kind in ("string", "string[]")
        return [f"examples are missing: a {kind} needs them"] if needed else []
    if not isinstance(examples, list) or not examples:
        return ["examples must be a list"]
    # bool is an int in Python, and weaver takes 30 for an int where a double is due: exact types
    expected = TYPES[kind]
    for example in examples:
        values = example if kind.endswith("[]") and isinstance(example, list) else [example]
        if isinstance(example, list) != kind.endswith("[]") or any(
            type(value) is not expected for value in values
        ):
            return [f"examples must all be of type {kind}, {example!r} is not"]
    return []


def _members(kind: Raw) -> list[str]:
    faults = [f"type: unknown key {key}" for key in kind.keys() - {"members"}]
    members = kind.get("members")
    if not isinstance(members, list) or not members:
        return [*faults, "enum members must be there"]
    for member in members:
        if not isinstance(member, dict):
            faults.append(f"enum member {member!r} must be a mapping")
            continue
        found = _keys(member, MEMBER) + _common(member)
        faults += [f"enum member {member.get('id')}: {fault}" for fault in found]
    named = [m for m in members if isinstance(m, dict)]
    for key in ("id", "value"):
        values = [str(m.get(key, m.get("id"))) for m in named]
        if len(set(values)) != len(values):
            faults.append(f"enum members must differ in their {key}")
    return faults


def _signal(section: str, entry: Raw) -> list[str]:
    faults = []
    level = entry.get("requirement_level", "recommended")
    if not isinstance(level, str) or level not in SIGNAL_LEVELS:
        faults.append(f"requirement_level {level!r}: {' or '.join(SIGNAL_LEVELS)}")
    if section == "entities":
        return faults + _identity(entry)
    if section == "spans":
        if entry.get("kind", "internal") not in KINDS:
            faults.append(f"kind {entry['kind']}")
        name = entry.get("name", {"note": ""})
        if not isinstance(name, dict) or name.keys() != {"note"}:
            faults.append("name must be {note: how the name is made}")
    if section == "metrics" and entry.get("instrument", "gauge") not in INSTRUMENTS:
        faults.append(f"instrument {entry['instrument']}")
    if not _associations(entry.get("entity_associations", [])):
        faults.append("entity_associations must be types, or one_of or all_of a list of them")
    extra = frozenset({"sampling_relevant"} if section == "spans" else ())
    return faults + _references(entry.get("attributes", []), extra=extra)


def _identity(entry: Raw) -> list[str]:
    """What identifies an entity is always required: a level there is a fault since 0.28."""
    identity, description = entry.get("identity", [{}]), entry.get("description", [])
    if not isinstance(identity, list) or not identity:
        return ["identity must be a list of at least one attribute"]
    faults = _references(description, groups=False)
    if "identity" in entry:
        faults += _references(identity, groups=False, levels=False)
    both = {r.get("ref") for r in identity if isinstance(r, dict)} & {
        r.get("ref") for r in description if isinstance(r, dict)
    }
    return faults + [f"{name} is in identity and description" for name in both]


def _references(
    entries: Any,
    *,
    extra: frozenset[str] = frozenset(),
    groups: bool = True,
    levels: bool = True,
) -> list[str]:
    """The attributes of a signal or a group. `stability` and `deprecated` belong to definitions."""
    if not isinstance(entries, list):
        return ["attributes must be a list"]
    faults = []
    for entry in entries:
        if not isinstance(entry, dict):
            faults.append(f"{entry!r} must be a mapping with ref or ref_group")
        elif groups and isinstance(entry.get("ref_group"), str):
            name = entry["ref_group"]
            faults += [f"{name}: unknown key {k}" for k in entry.keys() - {"ref_group"}]
        elif not isinstance(entry.get("ref"), str):
            faults.append(f"{entry} must have ref{' or ref_group' if groups else ''}")
        else:
            known = REFERENCE | extra | ({"requirement_level"} if levels else set())
            faults += [f"{entry['ref']}: unknown key {k}" for k in entry.keys() - known]
            if levels and not _is_level(entry.get("requirement_level", "recommended")):
                level = entry["requirement_level"]
                faults.append(f"{entry['ref']}: requirement level {level!r}")
    names = [e["ref"] for e in entries if isinstance(e, dict) and isinstance(e.get("ref"), str)]
    return faults + [
        f"{n} is there twice" for n in sorted({n for n in names if names.count(n) > 1})
    ]


def _is_level(level: Any) -> bool:
    if isinstance(level, dict):
        return (
            len(level) == 1
            and next(iter(level)) in EXPLAINED_LEVELS
            and all(isinstance(text, str) and text for text in level.values())
        )
    return isinstance(level, str) and level in LEVELS


def _associations(raw: Any) -> bool:
    if not isinstance(raw, list):
        return False
    for entry in raw:
        if isinstance(entry, dict):
            if len(entry) != 1 or next(iter(entry)) not in ("one_of", "all_of"):
                return False
            if not _associations(next(iter(entry.values()))):
                return False
        elif not isinstance(entry, str):
            return False
    return True


def _imports(raw: Any) -> list[str]:
    if not isinstance(raw, dict):
        return ["imports must be a mapping"]
    faults = [f"imports: unknown section {key}" for key in raw.keys() - IMPORTS]
    for key, names in raw.items():
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            faults.append(f"imports: {key} must be a list of names")
    return faults
