"""What the kernel half reads and names of a process: variables, packages, and files that are only
counted.

`Capture` holds what the recognisers declare (receiver.attribution.declared), and `KernelLimits`
what the user sets. Both are written into the maps of the BPF object before any program runs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Annotated

import msgspec

from receiver.constants import (
    ENV_BINDS,
    ENV_EXACT,
    ENV_PREFIX,
    ENV_RULE_BYTES,
    NAMED_CHANGES,
    NAMED_FILES,
    NOISE_ALL,
    NOISE_COMPONENT_BYTES,
    NOISE_PREFIX_BYTES,
    NOISE_READS,
    NOISE_SUFFIX_BYTES,
    TELLING_PACKAGE_BYTES,
)
from receiver.kernel.bpf_object import Object
from receiver.text.redact.names import is_secret_variable

# Files below these prefixes, or with these suffixes, are counted and not named when they are only
# read. A prefix with `!` is ignored for writes, too.
NOISE_PREFIXES = (
    "/usr/",
    "/lib/",
    "/lib32/",
    "/lib64/",
    "/bin/",
    "/sbin/",
    "/etc/",
    "/boot/",
    "/nix/store/",
    "/snap/",
    "/var/lib/dpkg/",
    "/var/cache/",
    "!/tmp/hsperfdata_",
    "/opt/java/",
    "/opt/conda/",
)
NOISE_SUFFIXES = (
    ".py",
    ".pyc",
    ".pyi",
    ".pyd",
    ".pth",
    ".so",
    ".jar",
    ".class",
    ".jmod",
    ".rb",
    ".pm",
    ".pl",
    ".mo",
    ".typed",
)
NOISE_COMPONENTS = (
    "site-packages",
    "dist-packages",
    "node_modules",
    "libexec",
    ".pyenv",
    ".rbenv",
    ".nvm",
    ".cargo",
    ".ivy2",
    ".m2",
    ".git",
    ".venv",
)


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """What recognisers need of a process beyond its command line.

    environment: variables that are read at exec. A name that ends in `_` allows all names that
    begin with it, except names that look like a secret. binding: those of them that identify a
    task. The system calls of a process that has one are watched from its exec on. packages:
    directories whose `__init__` file is named when a process opens it, although it is code.
    ignored_paths: see `KernelLimits.noise_prefixes`; they are added to the user's.
    """

    environment: tuple[str, ...] = ()
    binding: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    ignored_paths: tuple[str, ...] = ()

    def with_binding(self, names: tuple[str, ...]) -> Capture:
        """The same with the user's own variables that identify a task."""
        return msgspec.structs.replace(self, binding=(*self.binding, *names))

    def allow_list(self) -> Callable[[str], bool]:
        """Returns whether NAME=value may be read. The kernel half applies the same rules
        (bpf/image.bpf.h).
        """
        names = (*self.binding, *self.environment)
        exact = frozenset(name for name in names if not name.endswith("_"))
        prefixes = tuple(name for name in names if name.endswith("_"))

        def allowed(entry: str) -> bool:
            name = entry.partition("=")[0]
            return name in exact or (name.startswith(prefixes) and not is_secret_variable(name))

        return allowed


class KernelLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the kernel half names per process, and what it only counts."""

    files_per_process: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = NAMED_FILES
    changes_per_process: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = NAMED_CHANGES
    noise_prefixes: tuple[str, ...] = NOISE_PREFIXES
    noise_suffixes: tuple[
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^\.[^.]*\Z", description="a dot and the rest of the last extension"
            ),
        ],
        ...,
    ] = NOISE_SUFFIXES
    # names of directories, at most 15 bytes long
    noise_components: tuple[str, ...] = NOISE_COMPONENTS


def fill(target: Object, capture: Capture, limits: KernelLimits) -> None:
    """Writes both into the maps."""
    _allow(target, capture)
    _name_noise(target, capture, limits)


def _allow(target: Object, capture: Capture) -> None:
    # the trie takes the longest match and the list the first one, so binding names come first
    for index, name in enumerate((*capture.binding, *capture.environment)):
        raw = name.encode() if name.endswith("_") else name.encode() + b"="
        key = struct.pack(f"<I{ENV_RULE_BYTES}s", len(raw) * 8, raw)
        kind = ENV_PREFIX if name.endswith("_") else ENV_EXACT
        rule = struct.pack("<I", kind | (ENV_BINDS if name in capture.binding else 0))
        target.update("env_rules", key, rule)
        target.update("env_rule_list", struct.pack("<I", index), key + rule)


def _name_noise(target: Object, capture: Capture, limits: KernelLimits) -> None:
    present = struct.pack("<I", 1)
    for suffix in limits.noise_suffixes:
        target.update("noise_suffixes", _padded(suffix, NOISE_SUFFIX_BYTES), present)
    for component in limits.noise_components:
        target.update("noise_components", _padded(component, NOISE_COMPONENT_BYTES), present)
    for package in capture.packages:
        target.update("telling_packages", _padded(package, TELLING_PACKAGE_BYTES), present)
    for prefix in (*capture.ignored_paths, *limits.noise_prefixes):
        raw = prefix.removeprefix("!").encode()
        key = struct.pack(f"<I{NOISE_PREFIX_BYTES}s", len(raw) * 8, raw)
        value = struct.pack("<I", NOISE_ALL if prefix.startswith("!") else NOISE_READS)
        target.update("noise_prefixes", key, value)


def _padded(name: str, size: int) -> bytes:
    return name.encode().ljust(size, b"\0")
