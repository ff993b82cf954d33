"""A file system of its own for one command: small, full or read-only.
Mounted in a mount namespace that ends with the command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.conftest import missing

ROOT = Path(__file__).parent.parent
_NO_MOUNT = 97
_SCRIPT = (
    f'mount -t tmpfs -o "size=$1,mode=0700" none "$2" || exit {_NO_MOUNT}; '
    'cd "$3" && shift 3 && exec "$@"'
)


def run_on_small_disk(
    folder: Path, command: list[str], *, size: str = "256k"
) -> subprocess.CompletedProcess[str]:
    """Runs the command with an empty tmpfs of this size at `folder`.
    Skips where nothing can be mounted."""
    if os.geteuid() != 0:
        missing("live", "mounting needs root")
    full = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        _SCRIPT,
        "sh",
        size,
        str(folder),
        str(ROOT),
        *command,
    ]
    env = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(full, capture_output=True, text=True, check=False, timeout=60, env=env)
    if done.returncode == _NO_MOUNT:
        missing("live", done.stderr.strip())
    return done
