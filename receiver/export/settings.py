"""The standard OTEL_* variables, with the semantics of the OpenTelemetry specification 1.60.

Sources: specification `configuration/sdk-environment-variables.md` and `protocol/exporter.md`.
Empty means unset. An invalid number or boolean is replaced by the default, with a warning. A
variable for one signal overrides the general one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import unquote

from receiver.errors import ConfigError
from receiver.export.endpoints import Header, grpc_target, headers, http_url, incomplete
from receiver.export.exporters import EXPORTERS
from receiver.export.options import (
    PREFIX,
    SIGNALS,
    BatchSettings,
    ExportSettings,
    OtlpSettings,
    SignalName,
)

log = logging.getLogger("kwitness.export")

PROTOCOLS = ("http/protobuf", "http/json", "grpc")
NONE = "none"
_DAY_MS = 86_400_000
_MOST_ITEMS = 10_000_000
_HTTP_DEFAULT, _GRPC_DEFAULT = "http://localhost:4318", "http://localhost:4317"


class Environment:
    """Reads variables as the specification says."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str, default: str = "") -> str:
        """Raises ConfigError for bytes that are not UTF-8, because OTLP cannot carry them."""
        value = self._variables.get(name, "")
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise ConfigError(f"{name} is not UTF-8")
        return value.strip() or default

    def flag(self, name: str) -> bool:
        value = self.text(name).lower()
        if value not in ("", "true", "false"):
            log.warning("%s=%s is not a boolean: using false", name, value)
        return value == "true"

    def number(self, name: str, default: float, most: float = _DAY_MS) -> float:
        """From 0 to `most`. A larger number becomes `most`, with a warning."""
        value = self.text(name)
        if not value:
            return default
        if not (value.isascii() and value.isdigit()):
            log.warning("%s is not a number of 0 or more: using %g", name, default)
            return default
        if float(value) > most:
            log.warning("%s is larger than %d: using %d", name, most, most)
        return min(float(value), most)

    def otlp(self, signal: SignalName, name: str, default: str = "") -> tuple[str, str]:
        """The value, and the name of the variable that provided it."""
        own = f"{PREFIX}{signal.upper()}_{name}"
        return (
            (found, own)
            if (found := self.text(own))
            else (self.text(PREFIX + name, default), PREFIX + name)
        )


def asks_for_export(variables: Mapping[str, str]) -> bool:
    """Whether an endpoint is set: then `run` exports instead of only printing."""
    return any(
        v.strip() for k, v in variables.items() if k.startswith(PREFIX) and k.endswith("ENDPOINT")
    )


def from_environment(variables: Mapping[str, str]) -> ExportSettings:
    """All settings, checked. Raises ConfigError for an unknown protocol, exporter or scheme."""
    env = Environment(variables)
    service, attributes = _resource(env)
    preference = env.text(f"{PREFIX}METRICS_TEMPORALITY_PREFERENCE", "cumulative").lower()
    if preference not in ("cumulative", "delta", "lowmemory"):
        log.warning(
            "%sMETRICS_TEMPORALITY_PREFERENCE=%s is unknown: using cumulative", PREFIX, preference
        )
    if (
        env.text(f"{PREFIX}METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram")
        != "explicit_bucket_histogram"
    ):
        log.warning(
            "%sMETRICS_DEFAULT_HISTOGRAM_AGGREGATION: only explicit_bucket_histogram is "
            "implemented",
            PREFIX,
        )
    return ExportSettings(
        exporters={signal: _exporters(env, signal) for signal in SIGNALS},
        otlp={signal: otlp_settings(env, signal) for signal in SIGNALS},
        batches={
            "traces": _batch(env, "OTEL_BSP_", 5000),
            "logs": _batch(env, "OTEL_BLRP_", 1000),
            "metrics": BatchSettings(),
        },
        metric_interval_seconds=env.number("OTEL_METRIC_EXPORT_INTERVAL", 60_000) / 1000,
        delta=preference in ("delta", "lowmemory"),
        service_name=service,
        resource_attributes=attributes,
        value_length_limit=int(env.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0, 1 << 30)),
        disabled=env.flag("OTEL_SDK_DISABLED"),
    )


def otlp_settings(env: Environment, signal: SignalName) -> OtlpSettings:
    protocol, variable = env.otlp(signal, "PROTOCOL", "http/protobuf")
    if protocol not in PROTOCOLS:
        raise ConfigError(f"{variable}={protocol[:80]}: must be one of {', '.join(PROTOCOLS)}")
    compression, variable = env.otlp(signal, "COMPRESSION", "none")
    if compression not in ("gzip", "none"):
        raise ConfigError(f"{variable}={compression[:80]}: must be gzip or none")
    grpc = protocol == "grpc"
    endpoint, variable = env.otlp(signal, "ENDPOINT", _GRPC_DEFAULT if grpc else _HTTP_DEFAULT)
    target, tls = (
        _grpc_target(env, signal, variable, endpoint)
        if grpc
        else _http_url(signal, variable, endpoint)
    )
    timeout = env.number(
        f"{PREFIX}{signal.upper()}_TIMEOUT", env.number(f"{PREFIX}TIMEOUT", 10_000)
    )
    return OtlpSettings(
        signal,
        protocol,
        target,
        tls,
        headers=_headers(env, signal, grpc=grpc),
        timeout_seconds=timeout / 1000,
        gzip=compression == "gzip",
        certificate=env.otlp(signal, "CERTIFICATE")[0],
        client_key=env.otlp(signal, "CLIENT_KEY")[0],
        client_certificate=env.otlp(signal, "CLIENT_CERTIFICATE")[0],
    )


def _http_url(signal: SignalName, variable: str, endpoint: str) -> tuple[str, bool]:
    parts = http_url(variable, endpoint)
    if (
        variable != f"{PREFIX}ENDPOINT"
    ):  # the signal's own endpoint: unchanged; without a path it is the root
        return parts._replace(path=parts.path or "/").geturl(), parts.scheme == "https"
    return parts._replace(
        path=f"{parts.path.rstrip('/')}/v1/{signal}"
    ).geturl(), parts.scheme == "https"


def _grpc_target(
    env: Environment, signal: SignalName, variable: str, endpoint: str
) -> tuple[str, bool]:
    target, scheme = grpc_target(variable, endpoint)
    if scheme:
        return target, scheme == "https"
    own = env.text(f"{PREFIX}{signal.upper()}_INSECURE")
    insecure = (
        env.flag(f"{PREFIX}{signal.upper()}_INSECURE") if own else env.flag(f"{PREFIX}INSECURE")
    )
    return target, not insecure


def _headers(env: Environment, signal: SignalName, *, grpc: bool) -> tuple[Header, ...]:
    value, variable = env.otlp(signal, "HEADERS")
    if missing := incomplete(value):
        log.warning("%s: ignoring %d entries without a name or without =", variable, missing)
    return headers(variable, value, grpc=grpc)


def _exporters(env: Environment, signal: SignalName) -> tuple[str, ...]:
    name = f"OTEL_{signal.upper()}_EXPORTER"
    chosen = tuple(
        dict.fromkeys(part.strip() for part in env.text(name, "otlp").split(",") if part.strip())
    )
    for part in chosen:
        if part not in (*EXPORTERS, NONE):
            known = ", ".join((*EXPORTERS, NONE))
            raise ConfigError(f"{name}={part[:80]}: must be one of {known}")
    return () if NONE in chosen else chosen


def _batch(env: Environment, prefix: str, delay: int) -> BatchSettings:
    ours = BatchSettings()
    return BatchSettings(
        delay_seconds=env.number(prefix + "SCHEDULE_DELAY", delay) / 1000,
        flush_seconds=min(ours.flush_seconds, env.number(prefix + "EXPORT_TIMEOUT", 30_000) / 1000),
        queue_items=int(env.number(prefix + "MAX_QUEUE_SIZE", ours.queue_items, _MOST_ITEMS))
        or ours.queue_items,
        batch_items=int(env.number(prefix + "MAX_EXPORT_BATCH_SIZE", ours.batch_items, _MOST_ITEMS))
        or ours.batch_items,
    )


def _resource(env: Environment) -> tuple[str, tuple[tuple[str, str], ...]]:
    """OTEL_SERVICE_NAME overrides service.name.

    An error in OTEL_RESOURCE_ATTRIBUTES discards all of it.
    """
    attributes: dict[str, str] = {}
    value = env.text("OTEL_RESOURCE_ATTRIBUTES")
    for pair in filter(None, (p.strip() for p in value.split(","))):
        name, equals, content = pair.partition("=")
        if not equals or not name.strip():
            log.warning("OTEL_RESOURCE_ATTRIBUTES is not k=v,k2=v2: ignoring all of it")
            attributes = {}
            break
        attributes[unquote(name.strip())] = unquote(content.strip())
    service = env.text("OTEL_SERVICE_NAME") or attributes.get("service.name", "")
    attributes.pop("service.name", None)
    return service, tuple(attributes.items())
