"""kwitness.toml: frozen, without unknown keys, units in the names, checked before the first probe
attaches.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from receiver.attribution.declared import DECLARED
from receiver.attribution.rules import RULES, Rule
from receiver.constants import (
    NOISE_COMPONENT_BYTES,
    NOISE_ENTRIES,
    NOISE_PREFIX_BYTES,
    NOISE_SUFFIX_BYTES,
)
from receiver.errors import ConfigError
from receiver.insights.config import InsightsConfig
from receiver.kernel.capture import KernelLimits
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions
from receiver.safe.inputs import read_file
from receiver.service.config_errors import RefusedSetting, bounds_of, find_refusal, line_of
from receiver.text.printable import printable
from receiver.units import MIB

SIZE_LIMIT = MIB


class AdminConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The admin endpoint. Port 0 disables it."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 9464
    token_file: str = ""  # mode 0600; a state directory gets one automatically


class PrivilegeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The users and the confinement of the service and its helper after the start.

    Without `drop` none of these applies.
    """

    drop: bool = True
    user: str = ""  # empty: a user of its own
    helper: Literal["auto", "always"] = (
        "auto"  # auto: only if this kernel needs privileges to attach (before 5.19)
    )
    helper_user: str = ""  # empty: a user that no other process of this host has
    confine: Literal["auto", "off"] = (
        "auto"  # auto: seccomp and Landlock as far as the kernel supports them
    )
    readable: tuple[
        Annotated[
            str, msgspec.Meta(pattern=r"^/[\s\S]*[^/]", description="an absolute path below /")
        ],
        ...,
    ] = ()


class StateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State that is kept between starts. Without a directory nothing is kept."""

    directory: str = ""


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`kwitness run` and `kwitness record -- CMD`."""

    status: bool = True  # show the status of the command in the terminal's title
    status_line: bool = False  # in the terminal's last row instead


class ServeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. Exporters are configured by the standard OTEL_* variables, not here."""

    kernel: SourceConfig = SourceConfig()
    core: CoreOptions = CoreOptions()
    admin: AdminConfig = AdminConfig()
    privileges: PrivilegeConfig = PrivilegeConfig()
    state: StateConfig = StateConfig()
    insights: InsightsConfig = InsightsConfig()
    run: RunConfig = RunConfig()
    # `[[rule]]` tables, matched before the frameworks
    rule: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=RULES)] = ()
    shutdown_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 8.0


def load(path: Path | None) -> ServeConfig:
    """The settings of the file, or the defaults without a file.

    Raises ConfigError with the line and the remedy.
    """
    if path is None:
        return ServeConfig()
    name = printable(str(path))
    try:
        text = read_file(path, SIZE_LIMIT).decode()
        content = tomllib.loads(text)
        config = msgspec.convert(content, ServeConfig)
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8") from None
    except RecursionError:
        raise ConfigError(f"{name}: tables or arrays are nested too deeply") from None
    except msgspec.ValidationError as error:
        found = find_refusal(content, ServeConfig) or RefusedSetting((), str(error))
        line = line_of(found.path, text)
        where = f"{name}, line {line}" if line else name
        raise ConfigError(f"{where}: {printable(found.sentence)}") from None
    except ValueError as error:  # TOMLDecodeError, and integers of more digits than Python converts
        raise ConfigError(f"{name}: {printable(str(error))[:300]}") from None
    _check(config, path)
    names = tuple(dict.fromkeys(rule.environment for rule in config.rule if rule.environment))
    kernel = msgspec.structs.replace(
        config.kernel, environment=(*config.kernel.environment, *names)
    )
    return msgspec.structs.replace(config, kernel=kernel)


def _plain(value: object, where: str, path: Path) -> None:
    """Checks that no string contains a control character and no number is longer than 64 bits."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            _plain(getattr(value, name), f"{where}.{name}" if where else name, path)
    elif isinstance(value, tuple):
        for entry in value:
            _plain(entry, where, path)
    elif isinstance(value, str) and re.search("[\x00-\x1f\x7f]", value):
        raise ConfigError(f"{printable(str(path))}: {where} holds a control character")
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ConfigError(f"{printable(str(path))}: {where} is a number of more than 64 bits")


def _check(config: ServeConfig, path: Path) -> None:
    _plain(config, "", path)
    for name in ("lifecycle_ring_bytes", "unwatched_ring_bytes", "bulk_ring_bytes"):
        size = getattr(config.kernel, name)
        if size & (size - 1):
            raise ConfigError(
                f"{path}: kernel.{name} = {size} must be {bounds_of(SourceConfig, name)}"
            )
    _check_limits(config.kernel.limits, path)
    for number, rule in enumerate(config.rule, 1):
        if problem := rule.problem():
            raise ConfigError(f"{path}: rule {number} ({rule.label}): {problem}")
    for name, value in (
        ("state.directory", config.state.directory),
        ("admin.token_file", config.admin.token_file),
    ):
        if value.startswith("~"):
            raise ConfigError(
                f"{path}: {name} = {value!r}: no home directory is filled in here, write the whole "
                "path"
            )
    if config.admin.port and config.admin.host not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigError(
            f"{path}: admin.host = {config.admin.host!r}: only loopback addresses are served"
        )


def _check_limits(limits: KernelLimits, path: Path) -> None:
    """Checks the sizes of the kernel half's tables (bpf/maps.bpf.h)."""
    for name, room in (
        ("noise_prefixes", NOISE_PREFIX_BYTES),
        ("noise_suffixes", NOISE_SUFFIX_BYTES),
        ("noise_components", NOISE_COMPONENT_BYTES),
    ):
        most = room - 1  # and a NUL
        entries = getattr(limits, name)
        # the recognisers' own paths are in the same map
        declared = len(DECLARED.capture.ignored_paths) if name == "noise_prefixes" else 0
        if len(entries) > NOISE_ENTRIES - declared:
            raise ConfigError(
                f"{path}: kernel.limits.{name} has {len(entries)} entries, there is room for "
                f"{NOISE_ENTRIES - declared}"
            )
        for entry in entries:
            if not 0 < len(entry.removeprefix("!").encode()) <= most:
                raise ConfigError(
                    f"{path}: kernel.limits.{name}: {entry!r} must have 1 to {most} bytes"
                )
