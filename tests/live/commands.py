"""The command line as a user starts it, for the tests of what it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
KWITNESS = [sys.executable, "-m", "receiver"]
NO_CAPS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
TWO_CAPS = ["setpriv", "--bounding-set=-all,+bpf,+perfmon", "--inh-caps=-all"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}


def run(
    *arguments: str, before: tuple[str, ...] | list[str] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, *KWITNESS, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=CLEAN | env,
        timeout=60,
    )
