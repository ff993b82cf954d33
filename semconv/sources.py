"""The YAML files of the model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from semconv.syntax import NOT_READ

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, if it was built


def parse(path: Path) -> Any:
    """The content of a YAML file. Raises yaml.YAMLError."""
    return yaml.load(path.read_text(), Loader=LOADER)


def files(root: Path) -> Iterator[Path]:
    """The definition files that weaver reads below a registry folder, in a stable order."""
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.suffix in (".yaml", ".yml") and path.name not in NOT_READ and not hidden:
            yield path
