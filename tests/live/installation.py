"""kwitness where every user can read it: our code and the packages it needs, outside of root's
home, for the system's Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PYTHON = "/usr/bin/python3"


def needed(package: str, known: dict[str, Distribution] | None = None) -> dict[str, Distribution]:
    """The distribution and all that it requires at run time, by name."""
    known = {} if known is None else known
    if package not in known:
        known[package] = distribution(package)
        for line in known[package].requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed(canonicalize_name(requirement.name), known)
    return known


def copy_packages(place: Path) -> None:
    for each in needed("kwitness").values():
        for file in each.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                target = place / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), target)


@contextmanager
def installed(user: int) -> Iterator[Path]:
    """The directory; `state` in it belongs to `user`. Skips where the system's Python could not
    load our packages."""
    version = subprocess.run(
        [PYTHON, "-c", "import sys; print(sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    if version.stdout.strip() != str(sys.version_info[:2]):
        pytest.skip("the system's Python is another version: packages would not load in it")
    place = Path("/var/tmp") / f"kwitness-installed-{os.getpid()}"
    place.mkdir()
    try:
        shutil.copytree(
            ROOT / "receiver", place / "receiver", ignore=shutil.ignore_patterns("__pycache__")
        )
        copy_packages(place)
        (place / "without_uvloop").mkdir()
        (place / "without_uvloop" / "sitecustomize.py").write_text(
            "import sys\nsys.modules['uvloop'] = None\n"  # its import fails, as where it is missing
        )
        (place / "state").mkdir(mode=0o700)
        os.chown(place / "state", user, user)
        yield place
    finally:
        shutil.rmtree(place)
