"""Directories that are no state directory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that other users can enter; pytest's own is closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="kwitness-state-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def srv(open_folder: Path) -> Path:
    """A directory of root as there is one on any host: a key, a setuid tool, a folder,
    a link out of it."""
    folder = open_folder / "srv"
    (folder / "sub").mkdir(parents=True)
    (folder / "key").write_text("secret")
    (folder / "key").chmod(0o600)
    shutil.copy("/bin/true", folder / "tool")
    (folder / "tool").chmod(0o4755)
    (folder / "link").symlink_to("/etc/passwd")
    return folder
