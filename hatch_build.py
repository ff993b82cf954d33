"""Tags the wheel with the machine that its BPF object was compiled for: registers and system call numbers differ between them."""

from __future__ import annotations

import platform
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Target(BuildHookInterface[Any]):
    """Nothing in it is linked to a C library, so any Linux distribution of that machine will do (PEP 600)."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux_2_17_{platform.machine()}"
