"""kwitness.toml: frozen, every key known, units in names, all of it checked before the first probe attaches."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec

from receiver.attribution.rules import RULES, Rule
from receiver.errors import ConfigError
from receiver.insights.config import InsightsConfig
from receiver.kernel.probes import KernelLimits
from receiver.kernel.source import SourceConfig
from receiver.model import CoreOptions

SIZE_LIMIT = 1 << 20


class AdminConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The health endpoint. Port 0 switches it off."""

    host: str = "127.0.0.1"
    port: int = 9464
    token_file: str = ""  # 0600; with a state directory one is made there


class PrivilegeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    drop: bool = True
    user: str = "nobody"


class StateConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What outlives the service. Without a directory nothing does."""

    directory: str = ""


class ServeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. Exporting is configured by the standard OTEL_* variables, not here."""

    kernel: SourceConfig = SourceConfig()
    core: CoreOptions = CoreOptions()
    admin: AdminConfig = AdminConfig()
    privileges: PrivilegeConfig = PrivilegeConfig()
    state: StateConfig = StateConfig()
    insights: InsightsConfig = InsightsConfig()
    rule: tuple[Rule, ...] = ()  # `[[rule]]` tables, asked before the frameworks
    shutdown_seconds: float = 8.0


def load(path: Path | None) -> ServeConfig:
    """The file, or the defaults without one. Raises ConfigError with the line and the remedy."""
    if path is None:
        return ServeConfig()
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > SIZE_LIMIT:
        raise ConfigError(f"{path} is larger than 1 MiB: that is no configuration")
    try:
        text = raw.decode()
        config = msgspec.convert(tomllib.loads(text), ServeConfig)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}{_where(str(error), text)}: {_remedy(str(error))}") from None
    _check(config, path)
    names = tuple(dict.fromkeys(rule.environment for rule in config.rule if rule.environment))
    kernel = msgspec.structs.replace(config.kernel, environment=(*config.kernel.environment, *names))
    return msgspec.structs.replace(config, kernel=kernel)


def _where(message: str, text: str) -> str:
    """The line of the offending key: the message names it, or the path at its end does."""
    unknown = re.search(r"unknown field `(\w+)`", message)
    path = re.search(r"\$\.([\w.]+)", message)
    key = unknown[1] if unknown else path[1].rpartition(".")[2] if path else ""
    for number, line in enumerate(text.splitlines(), 1):
        if key and re.match(rf"\s*\[?{re.escape(key)}\b", line):
            return f", line {number}"
    return ""


def _remedy(message: str) -> str:
    unknown = re.search(r"unknown field `(\w+)`(?: - at `\$\.?([\w.]*)(?:\[[^\]]*\])?`)?", message)
    if unknown is None:
        return message
    section = unknown[2] or ""
    kind: type = ServeConfig
    where = f"[{section}]" if section else "the top level"
    if section == "rule":
        kind, where = Rule, "[[rule]]"
    else:
        for part in filter(None, section.split(".")):
            kind = type(getattr(kind(), part))
    known = ", ".join(kind.__struct_fields__)  # type: ignore[attr-defined]
    return f"unknown key {unknown[1]}; {where} knows {known}"


def _check(config: ServeConfig, path: Path) -> None:
    for name in ("lifecycle_ring_bytes", "unwatched_ring_bytes", "bulk_ring_bytes"):
        size = getattr(config.kernel, name)
        if size < 4096 or size & (size - 1) or size > 1 << 30:
            raise ConfigError(f"{path}: kernel.{name} = {size} must be a power of two from 4096 to 1073741824")
    if not 0.005 <= config.kernel.drain_interval_seconds <= 5:
        raise ConfigError(f"{path}: kernel.drain_interval_seconds must be from 0.005 to 5")
    if not 1 <= config.kernel.sample_interval_seconds <= 3600:
        raise ConfigError(f"{path}: kernel.sample_interval_seconds must be from 1 to 3600")
    if not 1 <= config.kernel.batch_records <= 65_536:
        raise ConfigError(f"{path}: kernel.batch_records must be from 1 to 65536")
    _check_limits(config.kernel.limits, path)
    if config.core.process_limit < 1024:
        raise ConfigError(f"{path}: core.process_limit must be at least 1024")
    for name in ("linger_seconds", "task_grace_seconds", "run_grace_seconds", "heartbeat_seconds", "stall_seconds", "hang_seconds"):
        if not 0 <= getattr(config.core, name) <= 86_400:
            raise ConfigError(f"{path}: core.{name} must be from 0 to 86400")
    if len(config.rule) > RULES:
        raise ConfigError(f"{path}: {len(config.rule)} rules, there is room for {RULES}")
    for number, rule in enumerate(config.rule, 1):
        if problem := rule.problem():
            raise ConfigError(f"{path}: rule {number} ({rule.label}): {problem}")
    if not 0 <= config.admin.port <= 65_535:
        raise ConfigError(f"{path}: admin.port must be from 0 to 65535")
    if config.admin.port and config.admin.host not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigError(f"{path}: admin.host = {config.admin.host!r}: only loopback addresses are served")


def _check_limits(limits: KernelLimits, path: Path) -> None:
    """What fits the kernel half's tables (bpf/maps.bpf.h)."""
    for name in ("files_per_process", "changes_per_process"):
        if not 0 <= getattr(limits, name) <= 65_536:
            raise ConfigError(f"{path}: kernel.limits.{name} must be from 0 to 65536")
    for name, most in (("noise_prefixes", 63), ("noise_suffixes", 15), ("noise_components", 15)):
        entries = getattr(limits, name)
        if len(entries) > 128:
            raise ConfigError(f"{path}: kernel.limits.{name} has {len(entries)} entries, there is room for 128")
        for entry in entries:
            if not 0 < len(entry.removeprefix("!").encode()) <= most:
                raise ConfigError(f"{path}: kernel.limits.{name}: {entry!r} must have 1 to {most} bytes")
    if bad := [s for s in limits.noise_suffixes if not s.startswith(".") or "." in s[1:]]:
        raise ConfigError(f"{path}: kernel.limits.noise_suffixes: {bad[0]!r} must be a dot and what follows the last one")
