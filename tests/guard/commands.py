"""A command of ours in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

GOLDEN = str(Path(__file__).parent.parent / "scenarios" / "demo.kw")
ENTRY = "import sys; from receiver.__main__ import main; sys.exit(main())"
ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str, **other: Any) -> subprocess.CompletedProcess[str]:
    """The command as it is installed."""
    values: dict[str, Any] = {
        "capture_output": True,
        "text": True,
        "timeout": 60,
        "stdin": subprocess.DEVNULL,
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **other.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-c", ENTRY, *arguments], env=environment, check=False, **(values | other)
    )


def one_line(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("kwitness: ")
    assert done.stderr[:-1].isprintable()
    for word in words:
        assert word in done.stderr
