"""A copy of the registry, and entries that are put into it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from semconv.registry import ROOT, load

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
