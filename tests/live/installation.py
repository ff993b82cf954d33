"""kwitness where every user can read it: our code and the packages it needs, outside of root's home, for the system's Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PYTHON = "/usr/bin/python3"
_WANTED = (
    "kwitness-*", "msgspec*", "grpc*", "aiohttp*", "aiohappyeyeballs*", "aiosignal*", "attr*", "frozenlist*", "idna*", "multidict*",
    "opentelemetry*", "propcache*", "google*", "pyroute2*", "typing_extensions*", "yarl*", "uvloop*",
)  # fmt: skip


@contextmanager
def installed(user: int) -> Iterator[Path]:
    """The directory; `state` in it belongs to `user`. Skips where the system's Python could not load our packages."""
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
        packages = Path(next(p for p in sys.path if p.endswith("site-packages")))
        for pattern in _WANTED:
            for found in packages.glob(pattern):
                target = place / found.name
                shutil.copytree(
                    found, target, dirs_exist_ok=True
                ) if found.is_dir() else shutil.copy(found, target)
        (place / "without_uvloop").mkdir()
        (place / "without_uvloop" / "sitecustomize.py").write_text(
            "import sys\nsys.modules['uvloop'] = None\n"  # its import fails, as where it is missing
        )
        (place / "state").mkdir(mode=0o700)
        os.chown(place / "state", user, user)
        yield place
    finally:
        shutil.rmtree(place)
