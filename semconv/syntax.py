"""The words of weaver's `definition/2` files that this model uses, and the keys of each section."""

from __future__ import annotations

import re
from dataclasses import dataclass

FORMAT = "definition/2"
MANIFEST = "manifest.yaml"
NOT_READ = {MANIFEST, "registry_manifest.yaml", "schema-next.yaml"}
SCHEMA_URL = re.compile(r"^https?://[^/\s]+(/[^/\s]+)*/\d+\.\d+\.\d+$")
TYPES = {
    "string": str,
    "int": int,
    "double": float,
    "boolean": bool,
    "string[]": str,
    "int[]": int,
    "double[]": float,
    "boolean[]": bool,
}
INSTRUMENTS = {"counter", "updowncounter", "gauge", "histogram"}
KINDS = {"internal", "client", "server", "producer", "consumer"}
STABILITY = {"development", "alpha", "beta", "release_candidate", "stable"}
LEVELS = {"required", "recommended", "opt_in"}  # of an attribute in a signal
EXPLAINED_LEVELS = {"conditionally_required", "recommended", "opt_in"}  # {level: the condition}
SIGNAL_LEVELS = {"recommended": "sent by default", "opt_in": "off by default"}
DEPRECATIONS = {
    "renamed": {"renamed_to"},
    "obsoleted": {"note"},
    "uncategorized": {"note"},
}
IMPORTS = {"attribute_groups", "entities", "events", "metrics", "spans"}


@dataclass(frozen=True)
class Section:
    """The keys that an entry of a section must have and may have."""

    name: str  # the key that names an entry
    required: frozenset[str]
    optional: frozenset[str]


COMMON = frozenset({"brief", "stability"})
OPTIONAL = frozenset({"note", "deprecated", "annotations"})
SIGNAL = COMMON | {"requirement_level"}
SECTIONS = {
    "attributes": Section("key", COMMON | {"key", "type"}, OPTIONAL | {"examples"}),
    "attribute_groups": Section("id", frozenset({"id", "visibility"}), frozenset({"attributes"})),
    "entities": Section("type", SIGNAL | {"type", "identity"}, OPTIONAL | {"description"}),
    "spans": Section(
        "type",
        SIGNAL | {"type", "kind", "name"},
        OPTIONAL | {"attributes", "entity_associations"},
    ),
    "events": Section("name", SIGNAL | {"name"}, OPTIONAL | {"attributes", "entity_associations"}),
    "metrics": Section(
        "name",
        SIGNAL | {"name", "instrument", "unit"},
        OPTIONAL | {"attributes", "entity_associations"},
    ),
}
PUBLIC_GROUP = Section("id", COMMON | {"id", "visibility"}, OPTIONAL | {"attributes"})
MEMBER = Section("id", frozenset({"id"}), OPTIONAL | {"value", "brief", "stability"})  # of an enum
REFERENCE = {"ref", "brief", "note", "examples", "annotations"}
