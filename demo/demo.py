"""Runs demo/pipeline.sh under kwitness and prints what its own log says, beside what
the kernel saw."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
LIMIT_BYTES = 64 << 20
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


def make_cgroup() -> Path:
    """A memory cgroup of our own with a limit, on cgroup v1 or v2."""
    if (V1 / "memory.limit_in_bytes").exists():
        group = V1 / "kwitness-demo"
        group.mkdir(exist_ok=True)
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
        return group
    controllers = V2 / "cgroup.controllers"
    if controllers.exists() and "memory" in controllers.read_text().split():
        (V2 / "cgroup.subtree_control").write_text("+memory")
        group = V2 / "kwitness-demo"
        group.mkdir(exist_ok=True)
        (group / "memory.max").write_text(str(LIMIT_BYTES))
        if (group / "memory.swap.max").exists():
            (group / "memory.swap.max").write_text("0")
        return group
    sys.exit(
        "demo: no memory cgroup can be made here: neither cgroup v1 at /sys/fs/cgroup/memory nor "
        "v2 with the memory controller"
    )


def main() -> None:
    work = Path(tempfile.mkdtemp(prefix="kwitness-demo-"))
    group = make_cgroup()
    command = [
        "bash",
        "-c",
        'exec bash "$@" 2>&1',
        "bash",
        str(HERE / "pipeline.sh"),
        str(work),
        str(group),
    ]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "receiver", "run", "--name", "nightly_export", "--", *command],
            capture_output=True,
            env={**os.environ, "PYTHON": sys.executable},
            text=True,
            check=False,
        )
    finally:
        group.rmdir()
        shutil.rmtree(work)
    print("── what the pipeline's own log says " + "─" * 60)
    print(done.stdout, end="")
    print(f"(exit status {done.returncode})\n")
    print("── what the kernel saw " + "─" * 73)
    print(done.stderr.strip("\n"))
    if "process.oom_killed" not in done.stderr or "file.partial_write" not in done.stderr:
        sys.exit("demo: kwitness did not see what it should have")


main()
