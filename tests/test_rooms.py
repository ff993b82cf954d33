"""The map of the package names every room, and nothing that is not there."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import receiver

ROOT = Path(receiver.__file__).parent
MAP = receiver.__doc__ or ""


def test_the_map_is_complete() -> None:
    named = set(re.findall(r"^    (\w+) {2,}\S", MAP, re.MULTILINE))
    there = {p.stem for p in ROOT.iterdir() if p.suffix == ".py" or any(p.rglob("*.py"))}
    assert named == there - {"__init__", "__main__"}


def imports(path: Path) -> set[str]:
    """Top-level names of every import in a file, also of those that only types need."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_the_map_says_who_uses_asyncio_and_ctypes() -> None:
    users: dict[str, set[str]] = {"asyncio": set(), "ctypes": set()}
    for path in ROOT.rglob("*.py"):
        where = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for module in users.keys() & imports(path):
            users[module].add(where)
    assert users["asyncio"] <= {"cli", "service", "export", "insights", "safe", "kernel"}
    assert users["ctypes"] <= {"kernel", "service"}


def test_a_class_name_has_one_meaning() -> None:
    """Private classes aside: no other file sees them."""
    classes = Counter(
        node.name
        for path in ROOT.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert len(classes) > 200
    assert not [name for name, times in classes.items() if times > 1]
