"""Tags the wheel with what it needs: the machine, and the C library of the libraries inside.

The BPF object was compiled for one machine: registers and system call numbers differ between them.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OLDEST = (2, 17)  # PEP 600 names no older one


def glibc(libraries: list[Path]) -> tuple[int, int]:
    """The glibc that these libraries need: the newest version among their symbols' versions."""
    found = [
        (int(major), int(minor))
        for path in libraries
        for major, minor in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", path.read_bytes())
    ]
    return max([OLDEST, *found])


class Target(BuildHookInterface[Any]):
    """Of libraries, a wheel has those of tools/libbpf.sh or none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        major, minor = glibc(sorted(Path(self.root, "receiver/kernel/lib").glob("*.so.*")))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux_{major}_{minor}_{platform.machine()}"
